# IPVS set up by a real proxy from real Services, held against policies that a real agent
# enforces. $PROXY is kube-proxy or kube-router, $KUBE the folder of both.
#
# An agent that was ready before the node had IPVS, then no agent, then an agent that finds
# IPVS. $OPTIONS are more of the agent's options. Fails if a packet goes wrong with the
# agent, if an answer passes while the proxy starts, or if none goes wrong without the chain
# of the output hook: then it proves nothing.
. $HERE/cluster.env
busybox=/run/vm/busybox

# The wire to the API server, by qemu's own network (10.0.2.2 is its gateway).
reach_server() {
    ip link set eth0 netns node && ip -n node addr add 10.0.2.15/24 dev eth0 &&
        ip -n node link set eth0 up && ip -n node route add default via 10.0.2.2 ||
        die "no wire to the API server"
}

start_proxy() {
    case $PROXY in
    kube-proxy)
        cat >/run/proxy.yaml <<P
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
hostnameOverride: node-1
clientConnection: {kubeconfig: $ADMIN}
clusterCIDR: 10.244.0.0/16,fd00:244::/32
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
P
        ip netns exec node $KUBE/kube-proxy --config /run/proxy.yaml >/run/proxy.log 2>&1 &
        ;;
    kube-router)
        ip netns exec node $KUBE/kube-router --kubeconfig $ADMIN --hostname-override=node-1 \
            --run-router=false --run-firewall=false --run-service-proxy=true \
            --enable-ipv6=true --hairpin-mode=true --service-cluster-ip-range=10.96.0.0/16 \
            --service-cluster-ip-range=fd00:96::/112 >/run/proxy.log 2>&1 &
        ;;
    esac
    proxy=$!
}

# How many ends IPVS has of this family: a pattern of pods' addresses.
ends() { in_ns node ipvsadm -Ln 2>/dev/null | grep -c -e "-> $1"; }

# Each of three Services by TCP and UDP, at its address and at a port of the node.
await_services() {
    tries=0
    until [ "$(ends 10.244)" -ge 12 ] && [ "$(ends '.fd00:244')" -ge 12 ]; do
        tries=$((tries + 1))
        [ $tries -lt 90 ] && kill -0 $proxy || { in_ns node ipvsadm -Ln; fail "$PROXY sets up no Services"; }
        sleep 1
    done
    # Its rules of masquerading follow: with them a pod reaches itself through a Service.
    until [ "$(printf 'x TCP %s\n' 10.96.1.1:80 '[fd00:96::11]:80' | in_ns s $XTASK ipvs ask |
        grep -c yes)" = 2 ]; do
        tries=$((tries + 1)); [ $tries -lt 120 ] || fail "$PROXY does not masquerade"
    done
}

# Fails, and shows what the programs said.
fail() { grep -v "^I" /run/proxy.log | tail -n 50; tail -n 20 /run/agent.log; die "$1"; }

start_agent() {
    # Not by in_ns: the process id would be that of a shell.
    ip netns exec node $NFTPOL agent --node-name node-1 --kubeconfig $AGENT $OPTIONS >/run/agent.log 2>&1 &
    agent=$!
    tries=0
    until in_ns node $busybox wget -qO /dev/null http://127.0.0.1:9478/readyz; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] && kill -0 $agent || fail "the agent is not ready"
        sleep 1
    done
}

has_chain() { in_ns node nft list chain inet nftpol ipvs >/dev/null 2>&1; }

# IPVS by one command, from nothing: nobody can leave the agent less time. Then away again.
by_hand() {
    hammer; sleep 1
    printf '%s\n' '-A -u 192.0.2.1:30081 -s rr' '-a -u 192.0.2.1:30081 -r 10.244.1.4:8080 -m' |
        in_ns node ipvsadm -R || die "ipvsadm -R"
    sleep 5; heard 'while IPVS starts by one command'
    case $OPTIONS in *always*) [ $answers -eq 0 ] || die "the agent was told of IPVS" ;; esac
    has_chain || die "the chain of the output hook is missing"
    in_ns node ipvsadm -C; sleep 1; $busybox rmmod ip_vs_rr; $busybox rmmod ip_vs || die "rmmod"
    tries=0
    while [ -z "$OPTIONS" ] && has_chain; do
        tries=$((tries + 1)); [ $tries -lt 30 ] || die "a chain for IPVS, which is gone"
        sleep 1
    done
}

# Direct server return: told of, and no reason to be not ready.
direct() {
    in_ns node ipvsadm -A -t 192.0.2.1:30099 -s rr &&
        in_ns node ipvsadm -a -t 192.0.2.1:30099 -r 10.244.1.4:8080 -i || die "ipvsadm -i"
    tries=0
    until in_ns node $busybox wget -qO- http://127.0.0.1:9478/readyz |
        grep '^\[+\] services: IPVS sends packets to 10.244.1.4 through a tunnel'; do
        tries=$((tries + 1)); [ $tries -lt 30 ] || die "nobody tells of the tunnel"
        sleep 1
    done
    in_ns node ipvsadm -D -t 192.0.2.1:30099
}

echo "trial: kernel $(uname -r), $PROXY"
build; reach_server; servers
[ ! -e /proc/net/ip_vs ] || die "IPVS is there before its time"
start_agent
[ -n "$OPTIONS" ] || ! has_chain || die "a chain for IPVS, which is not there"
by_hand
hammer; start_proxy; await_services; heard 'while IPVS starts'; wrong=$answers
has_chain || die "the chain of the output hook is missing"
try 'with an agent that was there first' loud; wrong=$((wrong + leaks + losses))
kill -9 $agent; wait $agent 2>/dev/null; in_ns node $NFTPOL cleanup || die "cleanup"
try 'without nftpol' loss
[ $losses -eq 0 ] && [ $leaks -gt 0 ] || fail "the network itself loses packets, or has no hole"
start_agent
try 'with an agent that comes later' loud; wrong=$((wrong + leaks + losses))
kill -9 $agent; wait $agent 2>/dev/null; in_ns node nft flush chain inet nftpol ipvs
try 'control, no agent and the chain of the output hook emptied' quiet; hole=$leaks
start_agent
try 'with an agent that mends it' loud; wrong=$((wrong + leaks + losses))
direct
[ $hole -gt 0 ] || die "the control has no hole, so this proves nothing"
echo "trial: $wrong wrong; without the chain $hole holes"
[ $wrong -eq 0 ]
