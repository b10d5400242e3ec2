"""From compose words to service specs: every word arrives, and none is dropped in silence."""

from __future__ import annotations

import pytest
import yaml
from ansible.module_utils.swarmhub.compose import read_stack
from ansible.module_utils.swarmhub.compose_reader import (
    ComposeError,
    duration,
    file_mode,
    interpolated,
    nano_cpus,
    size,
)

# The shape of a hub stack as people write it for `docker stack deploy`.
HUB_STACK = """
version: "3.8"
services:
  proxy:
    image: example/proxy:4.5
    networks: [hub_network]
    ports:
      - {mode: host, protocol: tcp, published: 8001, target: 8000}
    environment: {TOKEN: abc123}
    command: [configurable-http-proxy, "--error-target", "http://hub/error"]
    deploy:
      mode: global
      placement: {constraints: [node.hostname==box1]}
      resources:
        limits: {cpus: '1.0', memory: 500M}
        reservations: {cpus: '0.1', memory: 10M}
      restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 100s}
  hub:
    image: example/hub:4.0.1
    hostname: hub
    container_name: hub
    networks: [hub_network]
    volumes:
      - "/var/run/docker.sock:/var/run/docker.sock"
      - "hub-data:/data"
      - "homes:/homes"
    environment: {PROXY_SHOULD_START: "False"}
    deploy: {endpoint_mode: dnsrr, mode: replicated, replicas: 1}
volumes:
  hub-data:
  homes:
    driver_opts: {type: nfs, o: "addr=10.0.0.9,rw,vers=3,nolock,soft", device: ":/srv"}
networks:
  hub_network: {external: true}
"""


def stack(compose, secrets=None, configs=None):
    return read_stack("web", compose, secrets or {}, configs or {}, "cluster")


def one(service, **top):
    """The spec of a single service, with the top level that it needs."""
    return stack({"services": {"a": {"image": "x", **service}}, **top}).services["web_a"]


def container(service, **top):
    return one(service, **top)["TaskTemplate"]["ContainerSpec"]


def test_f_a_stack_for_docker_stack_deploy_is_taken_as_it_is():
    read = stack(yaml.safe_load(HUB_STACK))
    assert read.warnings == [
        "version: has no effect",
        "services.hub.container_name: has no effect, swarm names containers after their tasks",
    ]
    assert read.networks == {"hub_network": None}
    proxy, hub = read.services["web_proxy"], read.services["web_hub"]
    assert proxy["Mode"] == {"Global": {}}
    assert proxy["EndpointSpec"] == {
        "Mode": "vip",
        "Ports": [{"Protocol": "tcp", "TargetPort": 8000, "PublishedPort": 8001, "PublishMode": "host"}],
    }
    assert proxy["TaskTemplate"]["ContainerSpec"]["Args"][0] == "configurable-http-proxy"
    assert proxy["TaskTemplate"]["RestartPolicy"] == {
        "Condition": "on-failure",
        "Delay": 5 * 10**9,
        "MaxAttempts": 3,
        "Window": 100 * 10**9,
    }
    assert proxy["TaskTemplate"]["Resources"]["Limits"] == {"NanoCPUs": 10**9, "MemoryBytes": 500 * 2**20, "Pids": 0}
    assert proxy["TaskTemplate"]["Networks"] == [{"Target": "hub_network", "Aliases": ["proxy"]}]
    assert hub["EndpointSpec"]["Mode"] == "dnsrr"
    bind, data, homes = hub["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert bind == {"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/var/run/docker.sock"}
    assert data["Source"] == "web_hub-data"
    assert homes["VolumeOptions"]["DriverConfig"] == {
        "Options": {"type": "nfs", "o": "addr=10.0.0.9,rw,vers=3,nolock,soft", "device": ":/srv"},
    }


@pytest.mark.parametrize(
    ("service", "field", "wanted"),
    [
        ({"command": "sh -c 'echo a b'"}, "Args", ["sh", "-c", "echo a b"]),
        ({"entrypoint": ["/a"]}, "Command", ["/a"]),
        ({"environment": ["B=2=3", "A=1"]}, "Env", ["A=1", "B=2=3"]),
        ({"environment": {"N": 5}}, "Env", ["N=5"]),
        ({"init": False}, "Init", False),
        ({"stop_grace_period": "1m30s"}, "StopGracePeriod", 90 * 10**9),
        ({"cap_add": ["net_admin"]}, "CapabilityAdd", ["CAP_NET_ADMIN"]),
        ({"cap_drop": ["ALL"]}, "CapabilityDrop", ["ALL"]),
        ({"sysctls": {"net.x": 1}}, "Sysctls", {"net.x": "1"}),
        ({"ulimits": {"nofile": 5}}, "Ulimits", [{"Name": "nofile", "Soft": 5, "Hard": 5}]),
        ({"extra_hosts": ["a:1.2.3.4"]}, "Hosts", ["1.2.3.4 a"]),
        ({"dns": "1.1.1.1"}, "DNSConfig", {"Nameservers": ["1.1.1.1"]}),
        ({"healthcheck": {"test": "true", "retries": 3}}, "Healthcheck", {"Test": ["CMD-SHELL", "true"], "Retries": 3}),
        ({"healthcheck": {"disable": True}}, "Healthcheck", {"Test": ["NONE"]}),
        (
            {"volumes": [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1M"}}]},
            "Mounts",
            [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 2**20}}],
        ),
        ({"volumes": ["/a:/b:ro"]}, "Mounts", [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}]),
        ({"volumes": ["/b"]}, "Mounts", [{"Type": "volume", "Target": "/b"}]),
    ],
)
def test_container_words(service, field, wanted):
    assert container(service)[field] == wanted


def test_what_is_not_set_is_left_out():
    assert container({}) == {"Image": "x", "Labels": {"com.docker.stack.namespace": "web"}}


@pytest.mark.parametrize(
    ("port", "wanted"),
    [
        ("80", [(80, None, "tcp", "ingress")]),
        (80, [(80, None, "tcp", "ingress")]),
        ("8080:80/udp", [(80, 8080, "udp", "ingress")]),
        ("9000-9001:80-81", [(80, 9000, "tcp", "ingress"), (81, 9001, "tcp", "ingress")]),
        ({"target": 80, "published": "8080", "mode": "host"}, [(80, 8080, "tcp", "host")]),
    ],
)
def test_ports(port, wanted):
    ports = one({"ports": [port]})["EndpointSpec"]["Ports"]
    assert [(p["TargetPort"], p.get("PublishedPort"), p["Protocol"], p["PublishMode"]) for p in ports] == wanted


def test_deploy_words():
    resource = {"discrete_resource_spec": {"kind": "GPU", "value": 2}}
    spec = one(
        {
            "deploy": {
                "replicas": 0,
                "placement": {"preferences": [{"spread": "node.labels.dc"}], "max_replicas_per_node": 1},
                "resources": {"limits": {"pids": 9}, "reservations": {"generic_resources": [resource]}},
                "restart_policy": {"max_attempts": 0, "delay": "0s"},
                "update_config": {"order": "start-first", "max_failure_ratio": 0.5, "failure_action": "rollback"},
            }
        }
    )
    task = spec["TaskTemplate"]
    assert spec["Mode"] == {"Replicated": {"Replicas": 0}}
    assert task["Placement"] == {
        "Constraints": [],
        "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.dc"}}],
        "MaxReplicas": 1,
    }
    assert task["Resources"]["Limits"]["Pids"] == 9
    assert task["Resources"]["Reservations"]["GenericResources"] == [
        {"DiscreteResourceSpec": {"Kind": "GPU", "Value": 2}}
    ]
    assert (task["RestartPolicy"]["Delay"], task["RestartPolicy"]["MaxAttempts"]) == (0, 0)
    assert (spec["UpdateConfig"]["Order"], spec["UpdateConfig"]["MaxFailureRatio"]) == ("start-first", 0.5)
    assert spec["UpdateConfig"]["Parallelism"] == 1


def test_networks_aliases_and_the_default_network():
    networks = {"front": {"name": "frontnet", "ipam": {"config": [{"subnet": "10.1.0.0/24"}]}}, "back": None}
    read = stack(
        {
            "services": {"a": {"image": "x", "networks": {"front": {"aliases": ["z"]}, "back": None}}},
            "networks": networks,
        }
    )
    assert read.services["web_a"]["TaskTemplate"]["Networks"] == [
        {"Target": "frontnet", "Aliases": ["a", "z"]},
        {"Target": "web_back", "Aliases": ["a"]},
    ]
    assert read.networks["frontnet"].subnets == ("10.1.0.0/24",)
    assert list(stack({"services": {"a": {"image": "x"}}}).networks) == ["web_default"]


def test_secrets_and_configs_are_named_after_their_content():
    compose = {
        "services": {
            "a": {
                "image": "x",
                "secrets": ["token", {"source": "ext", "target": "e", "uid": "5", "mode": 0o400}],
                "configs": [{"source": "conf", "target": "/etc/c"}],
            }
        },
        "secrets": {"token": {}, "ext": {"external": True, "name": "theirs"}},
        "configs": {"conf": None},
    }
    names = [stack(compose, {"token": value}, {"conf": "{}"}).contents for value in ("one", "two", "one")]
    assert names[0] == names[2]
    assert names[0] != names[1]
    spec = stack(compose, {"token": "one"}, {"conf": "{}"}).services["web_a"]["TaskTemplate"]["ContainerSpec"]
    token, ext = spec["Secrets"]
    assert token["SecretName"].startswith("web_token-")
    assert token["File"] == {"Name": "token", "UID": "0", "GID": "0", "Mode": 0o444}
    assert (ext["SecretName"], ext["File"]["Mode"], ext["File"]["UID"]) == ("theirs", 0o400, "5")
    assert spec["Configs"][0]["File"]["Name"] == "/etc/c"
    assert "one" not in repr(stack(compose, {"token": "one"}, {"conf": "{}"}).contents)


def test_a_secret_s_hash_depends_on_the_cluster():
    compose = {"services": {"a": {"image": "x"}}, "secrets": {"t": {}}}
    first, second = (read_stack("web", compose, {"t": "v"}, {}, cluster).contents[0].name for cluster in ("c1", "c2"))
    assert first != second


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ({"devices": ["/dev/x"]}, "services.a.devices: is not supported"),
        ({"deploy": {"placement": {"x": 1}}}, "services.a.deploy.placement.x: is not supported"),
        ({"deploy": {"resources": {"limits": {"gpus": 1}}}}, "services.a.deploy.resources.limits.gpus: is not"),
        ({"deploy": {"replicas": "many"}}, "services.a.deploy.replicas: expected a whole number"),
        ({"deploy": {"replicas": True}}, "services.a.deploy.replicas: expected a whole number"),
        ({"deploy": {"mode": "global", "replicas": 2}}, "services.a.deploy.replicas: has no meaning"),
        ({"deploy": {"mode": "job"}}, "services.a.deploy.mode: expected one of"),
        ({"deploy": {"endpoint_mode": "dnsrr"}, "ports": ["80"]}, "services.a.ports: with endpoint_mode dnsrr"),
        ({"image": None}, "services.a.image: is missing"),
        ({"environment": {"A": True}}, "services.a.environment.A: .*quotes"),
        ({"environment": ["A"]}, "services.a.environment.A: has no value"),
        ({"environment": "A=1"}, "services.a.environment: expected a mapping or a list"),
        ({"networks": ["nope"]}, "services.a.networks: network 'nope' is not among"),
        ({"secrets": ["nope"]}, r"services.a.secrets\[0\]: 'nope' is not among"),
        ({"volumes": ["nope:/x"]}, r"services.a.volumes\[0\]: volume 'nope' is not among"),
        ({"volumes": ["./x:/x"]}, r"services.a.volumes\[0\]: the source must be an absolute path"),
        ({"volumes": ["/x:/x:z"]}, r"services.a.volumes\[0\]: option 'z' is not supported"),
        ({"volumes": ["/a:relative"]}, r"services.a.volumes\[0\]: the target must be an absolute path"),
        ({"ports": ["1-2:3"]}, r"services.a.ports\[0\]: the two ranges"),
        ({"ports": ["127.0.0.1:1:2"]}, r"services.a.ports\[0\]: expected"),
        ({"ports": [{"target": 80, "name": "x"}]}, r"services.a.ports\[0\].name: is not supported"),
        ({"command": "a 'b"}, "services.a.command: cannot be split"),
        ({"stop_grace_period": 5}, "services.a.stop_grace_period: expected a duration"),
        ({"healthcheck": {"test": ["curl"]}}, "services.a.healthcheck.test: a list begins with"),
        ({"init": "yes"}, "services.a.init: expected true or false"),
        ([], r"services.a: expected a mapping"),
    ],
)
def test_what_is_wrong_is_refused_by_name(service, message):
    wanted = {"image": "x", **service} if isinstance(service, dict) else service
    with pytest.raises(ComposeError, match=message):
        stack({"services": {"a": wanted}})


@pytest.mark.parametrize(
    ("compose", "values", "message"),
    [
        ({}, {}, "services: the stack has none"),
        ([], {}, "^compose: expected a mapping"),
        ({"services": {"a": {"image": "x"}}, "include": []}, {}, "include: is not supported"),
        ({"services": {"a": {"image": "x"}}, "secrets": {"t": {}}}, {}, "secrets.t: has no value"),
        (
            {"services": {"a": {"image": "x"}}, "secrets": {"t": {}}},
            {"t": 5},
            "secrets.t: has no value; .* as a string",
        ),
        ({"services": {"a": {"image": "x"}}, "secrets": {"t": {"file": "f"}}}, {}, "secrets.t.file: is not supported"),
        ({"services": {"a": {"image": "x"}}}, {"t": "v"}, "secrets.t: has a value in the option secrets"),
        ({"services": {"a": {"image": "x"}}, "networks": {"n": {"x": 1}}}, {}, "networks.n.x: is not supported"),
        ({"services": {"a": {"image": "x"}}, "secrets": {"t" * 60: {}}}, {"t" * 60: "v"}, "is too long"),
    ],
)
def test_what_is_wrong_at_the_top_is_refused_by_name(compose, values, message):
    with pytest.raises(ComposeError, match=message):
        stack(compose, secrets=values)


def test_what_would_mend_a_network_is_told_by_an_extension_key():
    own = {"x-cure": "do this", "x-other": ["a comment"]}
    spec = stack({"services": {"a": {"image": "i", "networks": ["out"]}}, "networks": {"out": own}}).networks["web_out"]
    assert spec.cure == "do this"


def test_extension_keys_are_comments():
    assert stack({"x-note": 1, "services": {"a": {"image": "x", "x-b": 2}}}).services.keys() == {"web_a"}


@pytest.mark.parametrize(
    ("read", "text", "wanted"),
    [
        (duration, "1h2m3s", 3723 * 10**9),
        (duration, "1.5s", 1500 * 10**6),
        (duration, "0", 0),
        (size, "1.5gb", 3 * 2**29),
        (size, 512, 512),
        (size, "10 k", 10240),
        (nano_cpus, "0.25", 25 * 10**7),
        (nano_cpus, 2, 2 * 10**9),
        (file_mode, "0440", 0o440),
        (file_mode, 0o440, 0o440),
    ],
)
def test_notations(read, text, wanted):
    assert read(text, "x") == wanted


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (duration, "5"),
        (duration, "5s 3"),
        (size, "many"),
        (size, True),
        (nano_cpus, "-1"),
        (nano_cpus, "nan"),
        (file_mode, "rw"),
    ],
)
def test_wrong_notations(read, text):
    with pytest.raises(ComposeError, match="x: expected"):
        read(text, "x")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hub:$TAG", "hub:7"),
        ("hub:${TAG}", "hub:7"),
        ("${NONE-1}${EMPTY-2}${EMPTY:-3}${TAG:-4}", "137"),
        ("${TAG:?which one}", "7"),
        ("sh -c 'echo $$HOME'", "sh -c 'echo $HOME'"),
    ],
)
def test_variables_have_the_values_that_docker_would_give_them(text, wanted):
    assert interpolated({"a": [text, 1]}, {"TAG": 7, "EMPTY": ""}) == {"a": [wanted, 1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hub:${TAG}", r"a\[0\]: the variable TAG has no value"),
        ("${TAG:?say which}", r"a\[0\]: the variable TAG has no value \(say which\)"),
        ("costs 5 $", r"a\[0\]: 'costs 5 \$' has a \$ that begins no variable"),
        ("${TAG!}", "begins no variable"),
    ],
)
def test_a_variable_without_a_value_is_no_empty_one(text, message):
    with pytest.raises(ComposeError, match=message):
        interpolated({"a": [text]}, {})


def test_without_an_environment_a_dollar_is_a_dollar():
    assert container({"command": ["sh", "-c", "echo ${HOME} $$"]})["Args"] == ["sh", "-c", "echo ${HOME} $$"]


def test_an_order_that_there_cannot_be_is_refused():
    services = {key: {"image": "x"} for key in "abc"}
    services["a"]["depends_on"], services["b"]["depends_on"] = ["b"], {"a": {"condition": "service_started"}}
    with pytest.raises(ComposeError, match=r"depends_on goes in a circle: (a -> b -> a|b -> a -> b)"):
        stack({"services": services})
    services["b"]["depends_on"] = ["d"]
    with pytest.raises(ComposeError, match=r"services\.b\.depends_on: 'd' is not among"):
        stack({"services": services})
    services["b"]["depends_on"] = ["c"]
    assert [text for text in stack({"services": services}).warnings if "no order" in text]
