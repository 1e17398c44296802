"""Where a database is: the parts of its URL that may be shown, and the hosts to try."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from posthorn.errors import StartRefused

_SCHEMES = ("postgresql", "postgres")
_WAY_OUT = "write it as postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One server of a database: a name, an address, or the folder of a socket. `port` None means the usual one."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A parsed URL. Only `shown` may be printed: it has no user, no password and no options."""

    url: str
    hosts: tuple[Host, ...]
    database: str
    names_a_target: bool  #: whether the URL says which kind of server it wants (`target_session_attrs`)

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read a URL as libpq writes it, with one or several hosts. Raises StartRefused when it is none."""
        try:
            parts = urlsplit(url)
            query = parse_qs(parts.query)
            hosts = _hosts(parts.netloc.rpartition("@")[2], query)
        except ValueError:
            raise StartRefused(f"the database URL cannot be read; {_WAY_OUT}") from None
        if parts.scheme not in _SCHEMES:
            raise StartRefused(f"the database URL does not begin with postgresql://; {_WAY_OUT}")
        database = (query.get("dbname") or query.get("database") or [unquote(parts.path.removeprefix("/"))])[0]
        return cls(url=url, hosts=hosts, database=database, names_a_target="target_session_attrs" in query)

    def __repr__(self) -> str:
        return f"Address({self.shown})"

    @property
    def shown(self) -> str:
        """Host, port and database, for messages."""
        hosts = ",".join(host.name if host.port is None else f"{host.name}:{host.port}" for host in self.hosts)
        return f"{hosts or 'the default host'}/{self.database or 'the default database'}"


def _hosts(netloc: str, query: dict[str, list[str]]) -> tuple[Host, ...]:
    listed = netloc or ",".join(query.get("host", ()))
    ports = [port for text in query.get("port", ()) for port in text.split(",")]
    hosts = []
    for number, text in enumerate(listed.split(",") if listed else ()):
        name, port = _split(text)
        if not port and ports:
            port = ports[number if len(ports) > 1 else 0]
        hosts.append(Host(name=unquote(name), port=int(port) if port else None))
    return tuple(hosts)


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):  # an IPv6 address
        name, _, rest = text[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = text.partition(":")
    return name, port
