"""The seed's stack file as it was published, deployed by Docker itself beside the lab's hub, with our images in it.

Changed in it: images, addresses, and what this lab's container hosts cannot have (they mount no NFS, so homes are
volumes of a node; and have no IPVS, so the proxy is dnsrr as well). Its one network, with the proxy's API on it, is the
seed's choice: no row of test_network.py is for this mode.
"""

from __future__ import annotations

import json
import re
import shlex
import time
import typing as t

import httpx
import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, HubError, tls_context

from .cards import held_cards, seen_cards, where
from .conftest import Lab

STACK = """
version: "3.8"
services:
    proxy:
        image: @PROXY@
        networks:
            - jupyterhub_network
        ports:
            - mode: host
              protocol: tcp
              published: 8001
              target: 8000
        environment:
            CONFIGPROXY_AUTH_TOKEN: abc123
        command:
            - configurable-http-proxy
            - "--error-target"
            - "http://jupyterhub/hub/error"
        deploy:
            endpoint_mode: dnsrr
            mode: global
            placement:
                constraints:
                    - node.hostname==@MANAGER@
            resources:
                limits:
                    cpus: '1.0'
                    memory: 500M
                reservations:
                    cpus: '0.1'
                    memory: 10M
            restart_policy:
                condition: on-failure
                delay: 5s
                max_attempts: 3
                window: 100s
    jupyterhub:
        image: @HUB@
        hostname: jupyterhub
        container_name: jupyterhub
        networks:
            - jupyterhub_network
        volumes:
            - "/var/run/docker.sock:/var/run/docker.sock"
            - "jupyterhub-data:/data"
        environment:
            PROXY_SHOULD_START: "False"
            PROXY_API_URL: http://proxy:8001
            CONFIGPROXY_AUTH_TOKEN: abc123
            HUB_DB_URL: "postgresql://postgres:@PASSWORD@@@ADDRESS@:@PORT@/jupyterhub"
            SPAWNER_NETWORK_NAME: jupyterhub_network
            SPAWNER_NOTEBOOK_IMAGE: @NOTEBOOK@
            SPAWNER_SPAWN_CMD: jupyterhub-singleuser
            SPAWNER_ENDPOINT_MODE: dnsrr
            SPAWNER_PERSISTENCE_VOLUME_TYPE: local
            SPAWNER_CONSTRAINT_IMAGES: "jetson:node.labels.calculation_type==gpu->@NOTEBOOK@;quant:node.labels.calculation_type==cpu->@NOTEBOOK@"
            SPAWNER_CONSTRAINT_WITH_GPUS: "jetson->1"
        deploy:
            endpoint_mode: dnsrr
            mode: replicated
            replicas: 1
            placement:
                constraints:
                    - node.role==manager
            resources:
                limits:
                    cpus: '2.0'
                    memory: 500M
                reservations:
                    cpus: '0.1'
                    memory: 10M
            restart_policy:
                condition: on-failure
                delay: 5s
                max_attempts: 3
                window: 100s
volumes:
    jupyterhub-data:
networks:
    jupyterhub_network:
        external: true
"""  # noqa: E501
PASSWORD = "shown-in-the-url"
# A second cluster of the host's PostgreSQL, on a port that no firewall of ours keeps from containers.
PORT = 5433
DATABASE = f"""
set -e
version=$(ls /etc/postgresql)
pg_createcluster --port {PORT} "$version" seed -- --auth-host=scram-sha-256 >/dev/null
echo "listen_addresses = '*'" >> "/etc/postgresql/$version/seed/postgresql.conf"
echo "host all all 0.0.0.0/0 scram-sha-256" >> "/etc/postgresql/$version/seed/pg_hba.conf"
pg_ctlcluster "$version" seed start
runuser -u postgres -- psql -qp {PORT} -c "ALTER ROLE postgres PASSWORD '{PASSWORD}'" -c "CREATE DATABASE jupyterhub"
"""
TAKE_DOWN = """
docker stack rm seed
docker service ls -q --filter label=swarmhub.cluster=jupyterhub | xargs -r docker service rm
for _ in $(seq 30); do
    docker network inspect jupyterhub_network >/dev/null 2>&1 || break
    docker network rm jupyterhub_network || sleep 1
done
version=$(ls /etc/postgresql)
[ ! -e "/etc/postgresql/$version/seed" ] || pg_dropcluster --stop "$version" seed
"""
REMOVE_VOLUMES = "docker volume ls -q | grep -E '^(seed_|jupyterhub-user-seed-)' | xargs -r docker volume rm"
HOME = "/home/jovyan/work/persistence"
# Docker makes a local volume root's where the image has no such directory, under the seed's hub as under ours.
PREPARE = """
volume=$(docker volume create jupyterhub-user-seed-2dbob-2djetson)
chown 1000:100 "$(docker volume inspect --format '{{.Mountpoint}}' "$volume")"
"""
# The seed's one network: only the token is in the way of the proxy's API.
API = """
import urllib.error, urllib.request
for token in ("wrong", "abc123"):
    request = urllib.request.Request("http://proxy:8001/api/routes", headers={"Authorization": f"token {token}"})
    try:
        print(urllib.request.urlopen(request, timeout=5).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def take_down(lab: Lab) -> None:
    """Take all of it away, and what a run that was killed has left."""
    lab.ssh(lab.manager, TAKE_DOWN, check=False, timeout=120)
    for host in lab.inventory["managers"]["hosts"] + lab.inventory["gpu_workers"]["hosts"]:
        lab.ssh(host, REMOVE_VOLUMES, check=False)


@pytest.fixture(scope="module")
def hub(lab: Lab) -> t.Iterator[str]:
    """The address of the seed's hub, which answers."""
    ((host, container),) = lab.containers("swarmhub_hub")
    ours = json.loads(lab.docker("exec", container, "cat", "/etc/swarmhub/hub.json", host=host))
    images = {
        name: lab.inspect("service", f"swarmhub_{name}")[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
        for name in ("hub", "proxy")
    }
    address = lab.variables[lab.manager]["ansible_host"]
    values = {
        "PROXY": images["proxy"], "HUB": images["hub"], "NOTEBOOK": ours["notebook_image"], "PASSWORD": PASSWORD,
        "MANAGER": lab.docker("info", "--format={{.Name}}"), "ADDRESS": address, "PORT": str(PORT),
    }  # fmt: skip
    stack = re.sub("@([A-Z]+)@", lambda match: values[match[1]], STACK)
    take_down(lab)
    try:
        lab.ssh(lab.manager, DATABASE)
        lab.docker("network", "create", "--driver", "overlay", "--attachable", "jupyterhub_network")
        deploy = "docker stack deploy --detach=true --resolve-image=never --compose-file=- seed"
        lab.ssh(lab.manager, f"printf %s {shlex.quote(stack)} | {deploy}")
        url = f"http://{address}:8001"
        seconds = wait(lambda: httpx.get(f"{url}/hub/health", timeout=5).status_code == 200, 90)
        print(f"the seed's hub answered after {seconds:.0f} s")
        yield url
    finally:
        take_down(lab)


def wait(ready: t.Callable[[], bool], seconds: float) -> float:
    """Return after how many seconds it was so."""
    begun = time.monotonic()
    while True:
        try:
            if ready():
                return time.monotonic() - begun
        except (HubError, httpx.HTTPError):
            pass
        assert time.monotonic() - begun < seconds, f"not within {seconds} s"
        time.sleep(0.5)


def account(url: str, name: str, password: str) -> FormSession:
    return FormSession(url, name, password, start_timeout=90, request_timeout=30, tls=tls_context(None, True))


def start(session: FormSession) -> None:
    """There is nothing to choose: the page itself begins the start."""
    session.request("GET", "hub/spawn")
    session.wait_until_ready()
    session.enter_server()


def test_the_seeds_stack_file_brings_a_hub_that_keeps_its_promises(lab: Lab, hub: str) -> None:
    (running,) = lab.containers("seed_jupyterhub")
    container = running[1]
    admin = account(hub, "admin", lab.docker("exec", container, "cat", "/data/admin_password"))
    assert admin.sign_in()

    password = "long-enough"
    bob = account(hub, "seed-bob-jetson", password)
    bob.request("GET", "hub/signup")
    fields = {"username": bob.name, "signup_password": password, "signup_password_confirmation": password}
    bob.request("POST", "hub/signup", data={**fields, "_xsrf": bob.http.cookies["_xsrf"]})
    with pytest.raises(HubError):
        bob.sign_in()  # nobody has a card by choosing a name
    admin.request("POST", f"hub/authorize/{bob.name}")
    assert bob.sign_in()

    for worker in lab.inventory["gpu_workers"]["hosts"]:
        lab.ssh(worker, PREPARE)
    start(bob)
    cards = held_cards(lab, bob)
    assert (len(cards), seen_cards(lab, bob)) == (1, cards)
    place = where(lab, bob)[0]
    assert place in lab.inventory["gpu_workers"]["hosts"]
    with Kernel(bob, 30) as kernel:
        kernel.run(f"open('{HOME}/kept.txt', 'w').write('kept')")
        assert kernel.run(API) == "403\n200\n"

    # b, d: a proxy that is started again has its routes back; the notebook has not noticed.
    ((proxy_host, proxy),) = lab.containers("seed_proxy")
    lab.docker("kill", proxy, host=proxy_host)
    time.sleep(1)
    seconds = wait(lambda: bob.request("GET", f"{bob.server_path}api/status").status_code == 200, 60)
    print(f"the notebook answered {seconds:.0f} s after the proxy was killed")

    bob.stop()
    start(bob)
    assert where(lab, bob)[0] == place  # where a volume of a node is
    with Kernel(bob, 30) as kernel:
        assert kernel.run(f"print(open('{HOME}/kept.txt').read())") == "kept\n"
    bob.stop()

    log = lab.ssh(running[0], f"docker logs {container} 2>&1")
    for name in ("CONFIGPROXY_AUTH_TOKEN", "HUB_DB_URL"):
        assert f"{name}: " in log  # is warned about
    assert PASSWORD not in log
    assert "abc123" not in log
