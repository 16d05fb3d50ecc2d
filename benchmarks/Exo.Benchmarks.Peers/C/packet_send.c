// SPDX-License-Identifier: MIT
// Sends packets of one size as fast as one thread can: the peer of the packet-* rows.
//   packet_send packet|tap INTERFACE BYTES SECONDS   ->   packets and processor seconds, on one line
// 32 messages for a call on a packet socket, one writev for a packet on TAP; virtio headers; what is longer than a frame leaves as a TCP super-packet.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, HEADER = 54, SEGMENT = 1448 };

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) { perror(what); exit(1); }

static int open_packet(const char *name) {
    int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1, bytes = 16 << 20;
    if (fd < 0) die("socket");
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one)) die("PACKET_VNET_HDR");
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(name) };
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) die("bind");
    return fd;
}

static int open_tap(const char *name) {
    int fd = open("/dev/net/tun", O_RDWR);
    if (fd < 0) die("/dev/net/tun");
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request)) die("TUNSETIFF");
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    request.ifr_flags = IFF_UP;
    if (ioctl(s, SIOCSIFFLAGS, &request)) die("SIOCSIFFLAGS");
    return fd;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    int is_tap = !strcmp(arguments[1], "tap"), bytes = atoi(arguments[3]);
    double seconds = atof(arguments[4]);
    int fd = is_tap ? open_tap(arguments[2]) : open_packet(arguments[2]);
    static unsigned char packet[65536];
    struct virtio_net_hdr header = { 0 };
    memset(packet, 0x5a, sizeof packet); // else all pages would be one and the same page of zeros
    memcpy(packet, "\x02\0\0\0\0\x99\x02\0\0\0\0\x98\x08\0\x45\0", 16);
    *(unsigned short *)(packet + 16) = htons(bytes - 14);
    memset(packet + 18, 0, 36);
    packet[22] = 64, packet[23] = 6, packet[26] = 10, packet[30] = 10, packet[46] = 0x50;
    if (bytes > 1514) {
        header = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = HEADER,
                                          .gso_size = SEGMENT, .csum_start = 34, .csum_offset = 16 };
    }

    struct iovec pieces[3] = { { &header, sizeof header }, { packet, HEADER }, { packet + HEADER, bytes - HEADER } };
    struct mmsghdr messages[BATCH];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        messages[i].msg_hdr.msg_iov = pieces;
        messages[i].msg_hdr.msg_iovlen = 3;
    }

    double sent = 0, end = now(CLOCK_MONOTONIC) + seconds, cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    while (now(CLOCK_MONOTONIC) < end) {
        for (int round = 0; round < 32; round++) {
            if (is_tap) {
                for (int i = 0; i < BATCH; i++) sent += writev(fd, pieces, 3) > 0;
            } else {
                int done = sendmmsg(fd, messages, BATCH, 0);
                if (done > 0) sent += done;
            }
        }
    }

    printf("%.0f %.6f\n", sent, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
