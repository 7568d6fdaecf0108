#!/bin/busybox sh
# The first program of the virtual machine. Mounts the root of the machine that runs it,
# read-only, with a layer in memory above it; runs the command that the kernel's command
# line names there; switches off.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1
for module in /modules/*; do $b insmod $module; done
end() {
    # What is printed needs a moment.
    $b sleep 1
    $b poweroff -f
}
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /host || end
$b mount -t tmpfs rw /rw
$b mkdir /rw/above /rw/work
$b mount -t overlay -o lowerdir=/host,upperdir=/rw/above,workdir=/rw/work root /new || end
for folder in proc sys dev; do $b mount --move /$folder /new/$folder; done
$b mount -t tmpfs run /new/run
$b mkdir /new/run/vm
$b cp $b /new/run/vm/busybox
$b ln -s busybox /new/run/vm/modprobe
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
$b chroot /new /bin/sh "$($b sed 's/.*command=\([^ ]*\).*/\1/' /new/proc/cmdline)"
end
