# What a person would do by hand to bring a bare GPU worker into the cluster, and no more: add_node.yml's floor.
# Runs on the new host. Before it come the values, by test_floor.py:
#   mirror, gpu_repository   URLs of package sources     gpu_key, ca, login   files of those and of the registry
#   packages, image, registry, manager, token            what to install, to pull and to join
set -eu
mkdir -p /etc/apt/keyrings /etc/docker "/etc/docker/certs.d/$registry" /root/.docker
echo "deb $mirror trixie main" > /etc/apt/sources.list
rm -f /etc/apt/sources.list.d/debian.sources
echo "$gpu_key" > /etc/apt/keyrings/gpu.asc
echo "deb [signed-by=/etc/apt/keyrings/gpu.asc] $gpu_repository /" > /etc/apt/sources.list.d/gpu.list
echo "$ca" > "/etc/docker/certs.d/$registry/ca.crt"
(umask 077; echo "$login" > /root/.docker/config.json)
cards=$(nvidia-smi --query-gpu=uuid --format=csv,noheader | sed 's/.*/"GPU=&"/' | paste --serial --delimiters=,)
cat > /etc/docker/daemon.json <<END
{"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "/usr/bin/nvidia-container-runtime"}},
 "node-generic-resources": [$cards]}
END
apt-get update --quiet=2
# shellcheck disable=SC2086 # a list
DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $packages > /dev/null
sed -i 's/^#\? *swarm-resource.*/swarm-resource = "DOCKER_RESOURCE_GPU"/' /etc/nvidia-container-runtime/config.toml
docker pull --quiet "$image"
docker swarm join --token "$token" "$manager:2377"
