// A container runtime's calls of CNI plugins, for the tests: libcni under a main of ours,
// because cnitool passes no list of attachments to GC and no identifier of a container.
//
// In: COMMAND LIST CACHE CONTAINER NETNS [CONTAINER...]: a file with a list of plugins,
// libcni's folder, a sandbox. $CNI_PATH, $CNI_ARGS. GC names the containers that are left.
// Out: the result of ADD on standard output, or an error.
// Never: a plugin, or a namespace, of its own.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

const device = "eth0"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 5 {
		return fmt.Errorf("usage: cni-runtime COMMAND LIST CACHE CONTAINER NETNS [CONTAINER...]")
	}
	command, file, cache := args[0], args[1], args[2]
	list, err := libcni.ConfListFromFile(file)
	if err != nil {
		return err
	}
	path := filepath.SplitList(os.Getenv("CNI_PATH"))
	cni := libcni.NewCNIConfigWithCacheDir(path, cache, nil)
	sandbox := &libcni.RuntimeConf{ContainerID: args[3], NetNS: args[4], IfName: device}
	for _, pair := range strings.Split(os.Getenv("CNI_ARGS"), ";") {
		if key, value, found := strings.Cut(pair, "="); found {
			sandbox.Args = append(sandbox.Args, [2]string{key, value})
		}
	}
	ctx := context.Background()
	switch command {
	case "ADD":
		result, err := cni.AddNetworkList(ctx, list, sandbox)
		if err != nil {
			return err
		}
		return result.Print()
	case "CHECK":
		return cni.CheckNetworkList(ctx, list, sandbox)
	case "DEL":
		return cni.DelNetworkList(ctx, list, sandbox)
	case "STATUS":
		return cni.GetStatusNetworkList(ctx, list)
	case "GC":
		left := []types.GCAttachment{}
		for _, container := range args[5:] {
			left = append(left, types.GCAttachment{ContainerID: container, IfName: device})
		}
		return cni.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: left})
	}
	return fmt.Errorf("%s is no command", command)
}
