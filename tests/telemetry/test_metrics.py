"""Metrics: what moves them, read back by Prometheus's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from posthorn.telemetry import CATALOGUE, Metrics, Telemetry
from posthorn.telemetry.measures import MEASURES

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def measured() -> tuple[Telemetry, Metrics]:
    telemetry = Telemetry(strict=True)
    return telemetry, Metrics(telemetry, version="1.2.3")


def samples(metrics: Metrics) -> Samples:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_commit_counts_its_events_and_units_and_its_time() -> None:
    telemetry, metrics = measured()
    telemetry.emit("append.committed", units=3, events=2, seconds=0.004)
    telemetry.emit("append.committed", units=1, events=1, seconds=0.2)
    found = samples(metrics)
    assert found["posthorn_events_appended_total", ()] == 3
    assert found["posthorn_intake_units_total", ()] == 4
    assert found["posthorn_append_commit_seconds_count", ()] == 2
    assert found["posthorn_append_commit_seconds_bucket", (("le", "0.005"),)] == 1


def test_an_attempt_is_counted_by_state_and_by_status_class_or_error() -> None:
    telemetry, metrics = measured()
    telemetry.emit("attempt.finished", state="delivered", status=204, error=None, total_us=1500)
    telemetry.emit("attempt.finished", state="pending", status=None, error="timeout", total_us=15_000_000)
    telemetry.emit("attempt.finished", state="pending", status=999, error=None, total_us=1)
    found = samples(metrics)
    assert found["posthorn_attempts_total", (("result", "2xx"), ("state", "delivered"))] == 1
    assert found["posthorn_attempts_total", (("result", "timeout"), ("state", "pending"))] == 1
    assert found["posthorn_attempts_total", (("result", "other"), ("state", "pending"))] == 1
    assert found["posthorn_attempt_seconds_sum", ()] == 15.001501


def test_a_settled_batch_counts_each_outcome() -> None:
    telemetry, metrics = measured()
    telemetry.emit("delivery.settled", delivered=5, retried=3, exhausted=1, cancelled=0)
    found = samples(metrics)
    outcomes = {"delivered": 5, "retried": 3, "exhausted": 1, "cancelled": 0}
    for outcome, count in outcomes.items():
        assert found["posthorn_deliveries_settled_total", (("outcome", outcome),)] == count


def test_the_other_signals_move_their_metrics() -> None:
    telemetry, metrics = measured()
    telemetry.emit("request.captured", outcome="rejected", cause="signature_mismatch")
    telemetry.emit("request.captured", outcome="accepted", cause=None)
    telemetry.emit("decision.made", outcome="fired")
    telemetry.emit("endpoint.disabled", endpoint="ep_1", reason="gone")
    telemetry.emit("store.unavailable", cause="disk full")
    telemetry.emit("lease.changed", node="node_1", owned=128, won=128, lost=0)
    telemetry.emit("lease.changed", node="node_1", owned=64, won=0, lost=64)
    telemetry.emit("prune.finished", rows=40, claims=2, seconds=0.1)
    telemetry.emit("error.unexpected", where="dispatcher", exception=ValueError())
    found = samples(metrics)
    rejected = (("cause", "signature_mismatch"), ("outcome", "rejected"))
    assert found["posthorn_requests_captured_total", rejected] == 1
    assert found["posthorn_requests_captured_total", (("cause", ""), ("outcome", "accepted"))] == 1
    assert found["posthorn_decisions_total", (("outcome", "fired"),)] == 1
    assert found["posthorn_endpoints_disabled_total", (("reason", "gone"),)] == 1
    assert found["posthorn_store_unavailable_total", ()] == 1
    assert found["posthorn_shards_owned", ()] == 64
    assert found["posthorn_pruned_rows_total", ()] == 40
    assert found["posthorn_unexpected_errors_total", (("where", "dispatcher"),)] == 1
    assert found["posthorn_build_info", (("version", "1.2.3"),)] == 1
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_a_label_that_is_free_text_does_not_grow_without_bound() -> None:
    telemetry, metrics = measured()
    for number in range(1000):
        telemetry.emit("endpoint.disabled", endpoint="ep_1", reason=f"reason {number}")
    found = {labels: value for (name, labels), value in samples(metrics).items() if "endpoints_disabled" in name}
    assert len(found) <= 201
    assert sum(found.values()) == 1000


def test_two_servers_in_one_process_do_not_share_metrics() -> None:
    telemetry, metrics = measured()
    other = Metrics(Telemetry(), version="1.2.3")
    telemetry.emit("store.unavailable", cause="x")
    assert samples(metrics)["posthorn_store_unavailable_total", ()] == 1
    assert samples(other)["posthorn_store_unavailable_total", ()] == 0


def test_every_measure_reads_declared_signals_only() -> None:
    assert {measure.signal for measure in MEASURES} <= CATALOGUE.keys()
