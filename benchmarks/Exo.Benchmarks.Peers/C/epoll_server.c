// SPDX-License-Identifier: MIT
// The least that a server on sockets can do: one epoll loop, one answer built beforehand. The "highly tuned sockets" peer of the web rows.
//   epoll_server ADDRESS PORT BYTES
// An answer for each request head; "Connection: close" in a head closes. Nothing is parsed beyond that.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, HEAD = 4096, FILES = 65536 };

static char *answer[2];
static size_t answer_bytes[2];
static struct { size_t sent; int state; } connections[FILES]; // state: 0 idle, 1 sending, 2 sending and then closing

static void build(int close, size_t bytes) {
    answer[close] = malloc(bytes + 256);
    int head = sprintf(answer[close], "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nContent-Type: application/octet-stream\r\n%s\r\n", bytes, close ? "Connection: close\r\n" : "");
    memset(answer[close] + head, 'x', bytes);
    answer_bytes[close] = head + bytes;
}

// 1: everything has gone out.
static int push(int fd) {
    int close = connections[fd].state == 2;
    while (connections[fd].sent < answer_bytes[close]) {
        ssize_t n = send(fd, answer[close] + connections[fd].sent, answer_bytes[close] - connections[fd].sent, MSG_NOSIGNAL);
        if (n <= 0) return 0;
        connections[fd].sent += n;
    }

    connections[fd].state = 0;
    return 1;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    build(0, atol(arguments[3]));
    build(1, atol(arguments[3]));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(arguments[2])) };
    inet_pton(AF_INET, arguments[1], &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("listen"), 1;
    int epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){ .events = EPOLLIN, .data.fd = listener });
    struct epoll_event events[EVENTS];
    char head[HEAD];
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client;
                while ((client = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    if (client >= FILES) { close(client); continue; }
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    connections[client].state = 0;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, client, &(struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = client });
                }

                continue;
            }

            if (connections[fd].state) {
                int closes = connections[fd].state == 2;
                if (!push(fd)) continue;
                if (closes) { close(fd); continue; }
            }

            ssize_t got = recv(fd, head, HEAD, 0);
            if (got == 0) { close(fd); continue; }
            if (got < 0) continue;
            connections[fd].sent = 0;
            connections[fd].state = memmem(head, got, "close", 5) ? 2 : 1;
            int closes = connections[fd].state == 2;
            if (push(fd) && closes) close(fd);
        }
    }
}
