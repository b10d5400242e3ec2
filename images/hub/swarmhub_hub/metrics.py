"""What Prometheus is told; all of it wants a token of scope read:metrics.

GET /hub/metrics            JupyterHub's own metrics, and those of cluster, cards and queue
GET /hub/metrics/proxy      the proxy's, whose own listener is on the API network, where Prometheus is not
GET /hub/metrics/targets    where the nodes' exporters are, as Prometheus' http_sd_config reads it
"""

from __future__ import annotations

import datetime
import json
import typing as t
from collections import Counter

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import metrics_authentication
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from swarmhub_hub import tasks
from swarmhub_hub.availability import ClusterLook, Seen
from swarmhub_hub.cluster_page import PROFILE_LABEL, machines
from swarmhub_hub.docker_calls import DockerFailure
from swarmhub_hub.nodes import GPU_KIND, USER_LABEL, Node, is_cards
from swarmhub_hub.queue import Queue, Waiter
from swarmhub_hub.settings import Settings

#: Where prometheus-node-exporter listens on every node (role exporters).
EXPORTER_PORT = 9100


class Families(Collector):
    """Metrics that have been worked out already."""

    def __init__(self) -> None:
        """Have none."""
        self._families: list[Metric] = []

    def add(self, name: str, words: str, values: t.Mapping[tuple[str, ...], float], *labels: str) -> None:
        """Add a gauge with one value for each set of labels."""
        family = GaugeMetricFamily(f"swarmhub_{name}", words, labels=labels)
        for row, value in values.items():
            family.add_metric(row, value)
        self._families.append(family)

    def collect(self) -> t.Iterable[Metric]:
        """Return them."""
        return self._families

    def text(self) -> bytes:
        """Return them as Prometheus reads them."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)


def families(seen: Seen | None, waiters: t.Sequence[Waiter], settings: Settings, now: datetime.datetime) -> Families:
    """Work out what the metrics are.

    Args:
        seen: the cluster, None where the engine gives no answer; what nobody knows has no metric then.
        waiters: those who wait for cards.
    """
    found = Families()
    longest = max((now.timestamp() - waiter.since for waiter in waiters), default=0)
    found.add("waiting_starts", "Starts that wait for cards.", {(): len(waiters)})
    found.add("longest_wait_seconds", "For how long the first of them has waited.", {(): longest})
    found.add("swarm_answers", "Whether the engine tells the hub of nodes and tasks.", {(): seen is not None})
    if seen is None:
        return found

    notebooks: Counter[tuple[str, ...]] = Counter({(profile.slug,): 0 for profile in settings.profiles})
    for task in seen.tasks:
        labels = (task["Spec"].get("ContainerSpec") or {}).get("Labels") or {}
        if labels.get(USER_LABEL) and tasks.is_alive(task) and tasks.state(task) == tasks.RUNNING:
            notebooks[labels.get(PROFILE_LABEL, ""),] += 1
    found.add("notebooks", "Notebooks that run.", notebooks, "profile")

    states: dict[tuple[str, ...], float] = {
        (_hostname(node), node["Status"]["State"], node["Spec"]["Availability"]): 1 for node in seen.nodes
    }
    found.add("node_state", "What the swarm says of a node; always 1.", states, "node", "state", "availability")

    total: Counter[tuple[str, ...]] = Counter()
    free: Counter[tuple[str, ...]] = Counter()
    there: dict[tuple[str, ...], float] = {}
    holders: Counter[tuple[str, ...]] = Counter()
    for machine in machines(seen, {}, now):
        node = machine.node
        for kind in filter(is_cards, node.total):
            total[node.hostname, model_of(node, kind)] += node.total[kind]
            free[node.hostname, model_of(node, kind)] += max(node.free[kind], 0) if node.available else 0
        for card in machine.cards:
            there[node.hostname, card.uuid] = 1
            for holder in card.holders:
                user = holder.user if settings.metrics_users else ""
                holders[node.hostname, card.uuid, holder.profile, user] += 1
    found.add("cards", "Cards, or parts of them (MIG), without shared ones.", total, "node", "model")
    found.add("cards_free", "Those of them that a notebook could have now.", free, "node", "model")
    found.add("card_info", "A card that notebooks get, shared ones included; always 1.", there, "node", "uuid")
    found.add("card_holders", "Notebooks that hold a card.", holders, "node", "uuid", "profile", "user")
    return found


def model_of(node: Node, kind: str) -> str:
    """Return the model of a node's cards of a kind, as profiles have it in gpu_model."""
    if kind == GPU_KIND:
        return node.labels.get("gpu_model", "")
    return kind.removeprefix(f"{GPU_KIND}_").lower().replace("_", "-")


def targets(nodes: t.Iterable[t.Any]) -> list[dict[str, t.Any]]:
    """Return the exporters of all nodes, those that are down included: their silence is what is to be told."""
    found = []
    for node in nodes:
        # What a manager is to others is also its own address, which Status may have as 0.0.0.0.
        manager = (node.get("ManagerStatus") or {}).get("Addr", "").rpartition(":")[0]
        if address := manager or node["Status"].get("Addr"):
            found.append({"targets": [f"{address}:{EXPORTER_PORT}"], "labels": {"node": _hostname(node)}})
    return found


def _hostname(node: t.Any) -> str:
    return str((node.get("Description") or {}).get("Hostname", ""))


class MetricsHandler(BaseHandler):
    """What is common to the three."""

    _accept_token_auth = True

    def initialize(self, look: ClusterLook, queue: Queue, settings: Settings) -> None:
        """Keep what the app gives."""
        self._look, self._queue, self._settings = look, queue, settings


class HubMetricsHandler(MetricsHandler):
    """The hub's metrics."""

    @metrics_authentication
    async def get(self) -> None:
        """Return them."""
        seen: Seen | None
        try:
            seen = await self._look()
        except DockerFailure:
            seen = None
        now = datetime.datetime.now(datetime.UTC)
        ours = families(seen, self._queue.those_who_wait(), self._settings, now)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(REGISTRY) + ours.text())


class ProxyMetricsHandler(MetricsHandler):
    """The proxy's metrics."""

    @metrics_authentication
    async def get(self) -> None:
        """Pass them on."""
        if not self._settings.proxy_metrics_url:
            raise web.HTTPError(404, "The hub was not told where the proxy's metrics are (proxy_metrics_url).")
        try:
            answer = await AsyncHTTPClient().fetch(self._settings.proxy_metrics_url, request_timeout=5)
        except (HTTPClientError, OSError, TimeoutError) as error:
            raise web.HTTPError(502, f"The proxy's metrics cannot be read: {error}") from error
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(answer.body)


class TargetsHandler(MetricsHandler):
    """The nodes' exporters."""

    @metrics_authentication
    async def get(self) -> None:
        """Return them."""
        try:
            seen = await self._look()
        except DockerFailure as error:
            # Prometheus keeps the list that it has.
            raise web.HTTPError(503, "The swarm gives no answer now.") from error
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(targets(seen.nodes)))
