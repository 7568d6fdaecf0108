# A node of network namespaces, its pods and Services, and who reaches whom.
#
# In: a kernel with ip_vs, run as root of a machine of its own; $NFTPOL and $XTASK are
# programs, $HERE is the folder of these files. The scripts behind this one say by whom
# IPVS is set up.
# Out: a line for each packet that goes wrong, and counts.
#
#   outside 192.0.2.9 ---- node-1 192.0.2.1 ---- pods a b s t e, routed, 10.244.1.x
#   pod f of another node, 10.244.2.2, is behind the same wire as outside
#
# s takes from a alone, on port 8080. e sends to t alone. Nothing else is isolated
# (pods.yaml). The Services 1, 2 and 3 lead to s, t and f (services.yaml).
set -u
asking=; probes=/run/probes; mkdir -p $probes

die() { echo "trial: $*"; exit 2; }
in_ns() { ns=$1; shift; ip netns exec "$ns" "$@"; }

build() {
    for ns in node out f a b s t e; do
        ip netns add $ns && ip -n $ns link set lo up || die "namespace $ns"
    done
    in_ns node sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    # The far side: outside, and a pod of another node.
    ip -n node link add up0 type veth peer name eth0 netns out
    ip -n node addr add 192.0.2.1/24 dev up0; ip -n node addr add fd00:192::1/64 dev up0 nodad
    ip -n node link set up0 up
    ip -n out addr add 192.0.2.9/24 dev eth0; ip -n out addr add fd00:192::9/64 dev eth0 nodad
    ip -n out link set eth0 up
    in_ns out sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip -n out link add pod0 type veth peer name eth0 netns f
    wire out pod0 f 10.244.2.2 fd00:244:2::2
    for net in 10.244.1.0/24 10.96.0.0/16; do ip -n out route add $net via 192.0.2.1; done
    for net in fd00:244:1::/64 fd00:96::/64; do ip -n out -6 route add $net via fd00:192::1; done
    ip -n node route add 10.244.2.0/24 via 192.0.2.9
    ip -n node -6 route add fd00:244:2::/64 via fd00:192::9
    n=2
    for pod in a b s t e; do
        ip -n node link add veth-$pod type veth peer name eth0 netns $pod
        wire node veth-$pod $pod 10.244.1.$n fd00:244:1::$n
        n=$((n + 1))
    done
}

# wire HOST PORT POD V4 V6
wire() {
    ip -n $1 link set $2 up; ip -n $1 addr add 169.254.1.1/32 dev $2
    ip -n $1 addr add fe80::1/64 dev $2 nodad
    ip -n $3 addr add $4/32 dev eth0; ip -n $3 addr add $5/128 dev eth0 nodad
    ip -n $3 link set eth0 up
    ip -n $3 route add 169.254.1.1 dev eth0; ip -n $3 route add default via 169.254.1.1
    ip -n $3 -6 route add default via fe80::1 dev eth0
    ip -n $1 route add $4 dev $2; ip -n $1 -6 route add $5 dev $2
}

servers() {
    for ns in a s t f out; do in_ns $ns $XTASK ipvs serve & done
    sleep 5
}

# Who, which Service or address, and whether policies let it pass. cN: the Service N by its
# address, nN: by a port of the node, then addresses of pods and of outside.
CASES='a c1 yes
b c1 no
t c1 no
e c1 no
s c1 yes
node c1 yes
out c1 no
f c1 no
a c2 yes
b c2 yes
e c2 yes
s c2 yes
node c2 yes
out c2 yes
a c3 yes
e c3 no
s c3 yes
node c3 yes
a n1 yes
b n1 no
e n1 no
out n1 no
f n1 no
b n2 yes
e n2 yes
out n2 yes
f n2 yes
e n3 no
a s yes
b s no
e s no
e t yes
e f no
node s yes
node out yes'

address() {
    case $2$1 in
    4c*) echo 10.96.1.${1#c}:80 ;; 6c*) echo "[fd00:96::1${1#c}]:80" ;;
    4n[123]) echo 192.0.2.1:3008${1#n} ;; 6n[123]) echo "[fd00:192::1]:3008${1#n}" ;;
    4s) echo 10.244.1.4:8080 ;; 6s) echo "[fd00:244:1::4]:8080" ;;
    4t) echo 10.244.1.5:8080 ;; 6t) echo "[fd00:244:1::5]:8080" ;;
    4f) echo 10.244.2.2:8080 ;; 6f) echo "[fd00:244:2::2]:8080" ;;
    4out) echo 192.0.2.9:8080 ;; 6out) echo "[fd00:192::9]:8080" ;;
    esac
}

# Tries all. Counts packets that pass against policies, and that are lost against them.
try() {
    rm -f $probes/*
    while read -r from to _; do
        for kind in TCP.4 TCP.6 UDP.4 UDP.6; do
            echo "$from.$to.$kind ${kind%.*} $(address $to ${kind#*.})" >>$probes/$from
        done
    done <<C
$CASES
C
    for from in a b s t e f node out; do
        in_ns $from $XTASK ipvs ask <$probes/$from >$probes/$from.answers &
        asking="$asking $!"
    done
    wait $asking; asking=
    cat $probes/*.answers >$probes/all
    leaks=0; losses=0; all=0
    while read -r from to expected; do
        for kind in TCP.4 TCP.6 UDP.4 UDP.6; do
            all=$((all + 1)); got=$(sed -n "s/^$from\.$to\.$kind //p" $probes/all)
            [ "$got" = $expected ] && continue
            [ $expected = no ] && leaks=$((leaks + 1)) || losses=$((losses + 1))
            [ "$2" = loud ] || [ "$2$expected" = lossyes ] && echo "  WRONG: $from to $to by $kind: $got instead of $expected"
        done
    done <<C
$CASES
C
    echo "$1: $all probes, $leaks passed against policies, $losses lost"
}

# From now on those who may not reach s and f ask for them without a pause.
hammer() {
    rm -f $probes/enough $probes/hammer.*; hammering=
    for one in b:10.96.1.1:80 b:[fd00:96::11]:80 b:192.0.2.1:30081 e:10.96.1.3:80 \
        out:192.0.2.1:30081; do
        in_ns ${one%%:*} $XTASK ipvs hammer "${one#*:}" $probes/enough \
            >$probes/hammer.$(echo $one | tr -c 'a-z0-9\n' _) &
        hammering="$hammering $!"
    done
}

# What they heard until now, in $answers.
heard() {
    touch $probes/enough; wait $hammering
    sed 's/^/  /' $probes/hammer.*
    answers=$(sed -n 's/.* \([0-9]*\) answered.*/\1/p' $probes/hammer.* |
        awk '{ sum += $1 } END { print sum + 0 }')
    echo "$1: $answers answered against policies"
}

