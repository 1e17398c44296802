"""Sources compiled for the hot path: opened secrets and parsed templates, kept until the source changes."""

from msgspec import Struct

from posthorn.engine.directory import Directory
from posthorn.engine.resources import Source
from posthorn.receive.capture import secret_headers_of, usable_name
from posthorn.templating import Template, compile_template
from posthorn.vault import KeyRing

_MOST_KEPT = 10_000


class CompiledSource(Struct, frozen=True, kw_only=True):
    """A source with its secrets opened. Never logged, never encoded."""

    source: Source
    secrets: tuple[tuple[str, int | None], ...]  #: each with when it expires
    event_type: Template | str
    answer_headers: tuple[tuple[bytes, bytes], ...]
    secret_headers: frozenset[bytes]

    def live_secrets(self, now_ms: int) -> list[str]:
        """Return the secrets that are valid now."""
        return [secret for secret, expires_ms in self.secrets if expires_ms is None or expires_ms > now_ms]

    def __repr__(self) -> str:
        return f"CompiledSource({self.source.id})"


class CompiledSources:
    """Finds sources by their token's digest."""

    def __init__(self, directory: Directory, key_ring: KeyRing) -> None:
        self._directory = directory
        self._key_ring = key_ring
        self._compiled: dict[str, CompiledSource] = {}

    def find(self, token_digest: str) -> CompiledSource | None:
        """Return the source whose token has this digest. Raises VaultError or Invalid when it cannot be compiled."""
        source = self._directory.source_of_token(token_digest)
        if source is None:
            self._compiled.pop(token_digest, None)
            return None
        compiled = self._compiled.get(token_digest)
        if compiled is None or compiled.source is not source:
            if len(self._compiled) >= _MOST_KEPT:
                self._compiled.clear()  # opened secrets of sources that are gone would stay for ever
            compiled = self._compiled[token_digest] = self._compile(source)
        return compiled

    def _compile(self, source: Source) -> CompiledSource:
        opened = tuple(
            (self._key_ring.open(secret.sealed, context=source.id).decode(), secret.expires_ms)
            for secret in source.secrets
        )
        return CompiledSource(
            source=source,
            secrets=opened,
            event_type=_event_type(source.event_type),
            secret_headers=secret_headers_of(source.verification),
            answer_headers=tuple(
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in source.answer.headers.items()
            ),
        )


def _event_type(text: str) -> Template | str:
    is_template = "{{" in text or "{%" in text
    return compile_template(text, escape="none") if is_template else usable_name(text)
