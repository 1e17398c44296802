"""Real brokers on loopback ports of their own, each with a password and a certificate for `broker.test`."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import aio_pika
import nats
import trustme
from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from posthorn.engine.brokers import BrokerSettings, NatsBroker, RabbitMqBroker, RedisBroker
from posthorn.testing.ports import free_port

PASSWORD = "p4ss/w:rd@x"
NAME = "broker.test"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
RABBITMQCTL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
Message = tuple[str, bytes]


class Server(ABC):
    """A broker's process. It is killed by its own id."""

    user = ""
    wait_seconds = 60.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        authority = trustme.CA()
        self.ca = authority.cert_pem.bytes().decode()
        issued = authority.issue_cert(NAME)
        issued.private_key_pem.write_to_path(str(folder / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def start(self) -> None: ...

    def run(self, *command: str, **environment: str) -> None:
        with (self.folder / "output.txt").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    command, stdout=output, stderr=output, cwd=self.folder, env={**os.environ, **environment}
                )
            )

    def wait_for(self, port: int) -> None:
        until = time.monotonic() + self.wait_seconds
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert all(process.poll() is None for process in self._processes), self.output()
            time.sleep(0.05)  # nothing tells when a foreign process listens
        raise AssertionError(self.output())

    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class NatsServer(Server):
    user = "posthorn"

    def start(self) -> None:
        configuration = self.folder / "nats.conf"
        text = f"""
            server_name: one
            listen: "127.0.0.1:{self.port}"
            jetstream: {{ store_dir: "{self.folder}/js" }}
            authorization: {{ user: "{self.user}", password: "{PASSWORD}" }}
        """
        configuration.write_text(text)
        binary = str(Path(sys.executable).parent / "nats-server")
        self.run(binary, "-c", str(configuration))
        encrypted = self.folder / "tls.conf"
        encrypted.write_text(
            text.replace(f":{self.port}", f":{self.tls_port}").replace("/js", "/tls-js")
            + f'\ntls: {{ cert_file: "{self.folder}/cert.pem", key_file: "{self.folder}/key.pem" }}\n'
        )
        self.run(binary, "-c", str(encrypted))
        self.wait_for(self.port)
        self.wait_for(self.tls_port)


class RedisServer(Server):
    def start(self) -> None:
        self.run(
            *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", PASSWORD),
            *("--tls-port", str(self.tls_port), "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"),
            *("--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no", "--save", "", "--appendonly", "no"),
        )
        self.wait_for(self.port)


class RabbitMqServer(Server):
    user = "guest"

    def start(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.folder}/cert.pem\n"
            f"ssl_options.keyfile = {self.folder}/key.pem\n"
            f"ssl_options.cacertfile = {self.folder}/ca.pem\n"
            "ssl_options.verify = verify_none\n"
            f"default_pass = {PASSWORD}\n"
        )
        (self.folder / "plugins").write_text("[].\n")
        mapper = free_port()
        # Our own name service of Erlang: the one that RabbitMQ would start stays behind when it ends.
        self.run("epmd", "-port", str(mapper), "-address", "127.0.0.1")
        self.wait_for(mapper)
        self.environment = {
            "HOME": str(self.folder),
            "HOSTNAME": "localhost",
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"posthorn{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{self.folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{self.folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{self.folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.folder}/plugins",
            "RABBITMQ_PID_FILE": f"{self.folder}/pid",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self.run(str(RABBITMQ), **self.environment)
        self.wait_for(self.port)

    def held(self, queue: str) -> int:
        """Ask how many messages a queue holds, handed out or not: no client of AMQP is told."""
        asked = subprocess.run(
            [RABBITMQCTL, "-q", "list_queues", "name", "messages"],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            timeout=60,
        )
        rows = [line.split("\t") for line in asked.stdout.decode().splitlines()]
        return next(int(row[1]) for row in rows if row[0] == queue)


def missing(kind: str) -> str | None:
    """Say which program this machine lacks."""
    needed = {"redis": "redis-server", "rabbitmq": str(RABBITMQ)}.get(kind)
    return f"{needed} is not installed" if needed is not None and shutil.which(needed) is None else None


class Queue(ABC):
    """A queue, stream or the like of one broker, as a test uses it."""

    kind: ClassVar[str]
    header: ClassVar[str]  #: carries the message id

    def __init__(self, server: Any, name: str) -> None:
        self.server = server
        self.name = name

    @abstractmethod
    def settings(self, port: int | None = None, *, tls: bool = False) -> BrokerSettings:
        """Describe it as a source would; with TLS under the name of the certificate."""

    @abstractmethod
    async def make(self) -> None: ...

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> None: ...

    @abstractmethod
    async def held(self) -> int:
        """Count what the broker still owes to the source, handed out or not."""


class NatsQueue(Queue):
    kind = "nats"
    header = "Nats-Msg-Id"

    def settings(self, port: int | None = None, *, tls: bool = False) -> BrokerSettings:
        url = f"tls://{NAME}:{self.server.tls_port}" if tls else f"nats://127.0.0.1:{port or self.server.port}"
        ca = self.server.ca if tls else None
        return NatsBroker(url=url, ca=ca, stream=self.name, subject=f"{self.name}.>", durable="shared")

    @asynccontextmanager
    async def _client(self, port: int) -> AsyncIterator[Any]:
        options: dict[str, Any] = {"user": self.server.user, "password": PASSWORD}
        if port == self.server.tls_port:
            import ssl  # noqa: PLC0415 - only here

            options |= {"tls": ssl.create_default_context(cadata=self.server.ca), "tls_hostname": NAME}
        client = await nats.connect(f"nats://127.0.0.1:{port}", **options)
        try:
            yield client
        finally:
            await client.close()

    async def make(self) -> None:
        for port in (self.server.port, self.server.tls_port):
            async with self._client(port) as client:
                await client.jetstream().add_stream(name=self.name, subjects=[f"{self.name}.>"], duplicate_window=0.1)

    async def publish(self, messages: Sequence[Message]) -> None:
        async with self._client(self.server.port) as client:
            stream = client.jetstream()
            for identifier, body in messages:
                headers = {self.header: identifier, "Kind": "paid"}
                # JetStream drops duplicates itself as long as its own window is open.
                while (await stream.publish(f"{self.name}.paid", body, headers=headers)).duplicate:
                    pass

    async def held(self) -> int:
        async with self._client(self.server.port) as client:
            try:
                info = await client.jsm().consumer_info(self.name, "shared")
            except NotFoundError:
                return int((await client.jsm().stream_info(self.name)).state.messages)
            return int(info.num_ack_pending + info.num_pending)


class RedisQueue(Queue):
    kind = "redis"
    header = "Id"

    def settings(self, port: int | None = None, *, tls: bool = False) -> BrokerSettings:
        url = f"rediss://{NAME}:{self.server.tls_port}/2" if tls else f"redis://127.0.0.1:{port or self.server.port}/2"
        ca = self.server.ca if tls else None
        return RedisBroker(url=url, ca=ca, stream=self.name, group="shared", payload_field="body")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        client = Redis(host="127.0.0.1", port=self.server.port, db=2, password=PASSWORD)
        try:
            yield client
        finally:
            await client.aclose()

    async def make(self) -> None:
        async with self.client() as client:
            await client.xgroup_create(self.name, "shared", id="0", mkstream=True)

    async def publish(self, messages: Sequence[Message]) -> None:
        async with self.client() as client, client.pipeline(transaction=False) as pipe:
            for identifier, body in messages:
                pipe.xadd(self.name, {self.header: identifier, "Kind": "paid", "body": body})
            await pipe.execute()

    async def held(self) -> int:
        async with self.client() as client:
            [group] = await client.xinfo_groups(self.name)
            return int(group["pending"] + group["lag"])


class RabbitMqQueue(Queue):
    kind = "rabbitmq"
    header = "message-id"

    def settings(self, port: int | None = None, *, tls: bool = False) -> BrokerSettings:
        url = f"amqps://{NAME}:{self.server.tls_port}" if tls else f"amqp://127.0.0.1:{port or self.server.port}"
        return RabbitMqBroker(url=url, ca=self.server.ca if tls else None, queue=self.name)

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[Any]:
        connection = await aio_pika.connect(
            host="127.0.0.1", port=self.server.port, login=self.server.user, password=PASSWORD
        )
        async with connection, connection.channel() as channel:
            yield channel

    async def make(self) -> None:
        async with self._channel() as channel:
            await channel.declare_queue(self.name, durable=True)

    async def publish(self, messages: Sequence[Message]) -> None:
        async with self._channel() as channel:
            await asyncio.gather(
                *[
                    channel.default_exchange.publish(
                        aio_pika.Message(body, message_id=identifier, headers={"Kind": "paid"}), self.name
                    )
                    for identifier, body in messages
                ]
            )

    async def held(self) -> int:
        return await asyncio.to_thread(self.server.held, self.name)


QUEUES: dict[str, type[Queue]] = {queue.kind: queue for queue in (NatsQueue, RedisQueue, RabbitMqQueue)}
SERVERS: dict[str, type[Server]] = {"nats": NatsServer, "redis": RedisServer, "rabbitmq": RabbitMqServer}


class Cable:
    """A way to a port that can be cut."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def cut(self) -> int:
        """Cut all connections, as a broken network does, and return how many there were."""
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, out = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, out}
        await asyncio.gather(_pump(reader, out), _pump(there, writer))
        self._tasks.discard(task)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
