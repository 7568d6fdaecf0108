// flannel's daemon, for the tests: its backends as a library, under a main of
// ours, because its own brings the software kits of clouds.
//
// In: a network configuration as flannel has it, a kubeconfig, $NODE_NAME, the
// interface that other nodes are behind. Out: the node's device and its routes
// to the pods of other nodes, until a signal ends it.
// Never: rules of a firewall (flannel's --ip-masq and forward rules), and no
// file for its CNI plugin: the tests write the list of plugins themselves.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/udp"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
)

// Where flannel keeps what nodes tell one another, on the Node objects.
const prefix = "flannel.alpha.coreos.com"

func main() {
	config := flag.String("config", "", "the network configuration, a file")
	kubeconfig := flag.String("kubeconfig", "", "the kubeconfig, a file")
	iface := flag.String("iface", "eth0", "the interface that other nodes are behind")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *config, *kubeconfig, *iface); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, configPath, kubeconfig, iface string) error {
	nodes, err := kube.NewSubnetManager(ctx, "", kubeconfig, prefix, configPath, false)
	if err != nil {
		return fmt.Errorf("follow the nodes: %w", err)
	}
	config, err := nodes.GetNetworkConfig(ctx)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	families, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	external, err := ipmatch.LookupExtIface(iface, "", "", families, ipmatch.PublicIPOpts{})
	if err != nil {
		return fmt.Errorf("find interface %s: %w", iface, err)
	}
	back, err := backend.NewManager(ctx, nodes, external).GetBackend(config.BackendType)
	if err != nil {
		return fmt.Errorf("make the backend: %w", err)
	}
	var running sync.WaitGroup
	network, err := back.RegisterNetwork(ctx, &running, config)
	if err != nil {
		return fmt.Errorf("register the network: %w", err)
	}
	fmt.Fprintf(os.Stderr, "running %s, MTU %d\n", config.BackendType, network.MTU())
	network.Run(ctx)
	running.Wait()
	return nil
}
