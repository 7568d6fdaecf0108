# IPVS set up by hand, held against policies, with real packets.
#
# Fails if a packet goes wrong with the rules, or if none does without the chain of the
# output hook: then it proves nothing.

# As kube-proxy and kube-router do: addresses on an interface of the node.
services() {
    ip -n node link add kube-ipvs0 type dummy || die "no dummy interfaces"
    in_ns node sysctl -qw net.ipv4.vs.conntrack=$1
    for one in 1:10.244.1.4:fd00:244:1::4 2:10.244.1.5:fd00:244:1::5 3:10.244.2.2:fd00:244:2::2; do
        number=${one%%:*}; rest=${one#*:}; v4=${rest%%:*}; v6=${rest#*:}
        ip -n node addr add 10.96.1.$number/32 dev kube-ipvs0
        ip -n node addr add fd00:96::1$number/128 dev kube-ipvs0 nodad
        for flag in -t -u; do
            for at in "10.96.1.$number:80 $v4" "192.0.2.1:3008$number $v4" \
                "[fd00:96::1$number]:80 [$v6]" "[fd00:192::1]:3008$number [$v6]"; do
                in_ns node ipvsadm -A $flag ${at% *} -s rr || die "ipvsadm $flag $at"
                in_ns node ipvsadm -a $flag ${at% *} -r ${at#* }:8080 -m || die "ipvsadm -a $at"
            done
        done
    done
    # A pod that reaches itself through a Service, and a node with a Service's address.
    in_ns node nft -f - <<'N' || die "masquerading"
table inet services {
    chain postrouting {
        type nat hook postrouting priority srcnat
        ip saddr 10.244.1.4 ip daddr 10.244.1.4 masquerade
        ip6 saddr fd00:244:1::4 ip6 daddr fd00:244:1::4 masquerade
        ip saddr 10.96.0.0/16 masquerade
        ip6 saddr fd00:96::/64 masquerade
    }
}
N
}

# Policies in audit: nothing is lost, and what they would deny is told of.
audit() {
    in_ns node $NFTPOL apply -f $HERE/pods.yaml --node node-1 --mode audit || die "apply in audit"
    told() { in_ns node nft list set inet nftpol audited.$1 | grep -c "$2"; }
    for one in "b 10.96.1.1:80" "e 10.96.1.3:80"; do
        echo "x TCP ${one#* }" | in_ns ${one% *} $XTASK ipvs ask | grep -q yes ||
            die "in audit $one is lost"
    done
    [ $(told i4 10.244.1.4) = 1 ] && [ $(told e4 10.244.1.6) = 1 ] ||
        die "in audit nobody is told of what IPVS forwards"
    echo "in audit: 2 connections through IPVS passed, and both were told of"
}

echo "trial: kernel $(uname -r)"
build; services 1; servers
try 'no rules of ours' loss
[ $losses -eq 0 ] && [ $leaks -gt 0 ] || [ -n "${ANYWAY-}" ] || die "the network itself loses packets"
audit
in_ns node $NFTPOL apply -f $HERE/pods.yaml --node node-1 || die "apply"
in_ns node nft list chain inet nftpol ipvs || die "the chain of the output hook is missing"
[ -n "${ANYWAY-}" ] || in_ns node $NFTPOL verify --kernel -f $HERE/pods.yaml --node node-1 ||
    die "verify"
try 'with the rules' loud; wrong=$((leaks + losses))
in_ns node nft flush chain inet nftpol ipvs
try 'control, the chain of the output hook emptied' quiet; hole=$leaks
in_ns node $NFTPOL apply -f $HERE/pods.yaml --node node-1 || die "apply again"
in_ns node sysctl -qw net.ipv4.vs.conntrack=0
try 'without connection tracking (net.ipv4.vs.conntrack=0)' quiet; wrong=$((wrong + leaks))
[ $hole -gt 0 ] || die "the control has no hole, so this proves nothing"
echo "trial: $wrong wrong; without the chain $hole holes"
[ $wrong -eq 0 ]
