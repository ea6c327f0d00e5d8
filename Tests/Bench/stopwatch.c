// stopwatch PORT ROUNDS PROGRAM ARGUMENT…: how long a program takes from exec to its first PUBLISH. Plays the broker
// on a loopback port, starts the program ROUNDS times, and prints the microseconds of each round.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 10 };

static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

// Client and broker on different processors, where there are two.
static void pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static void fill(int peer, unsigned char *bytes, size_t count) {
  while (count > 0) {
    ssize_t received = recv(peer, bytes, count, 0);
    if (received <= 0) exit(69);
    bytes += received;
    count -= (size_t)received;
  }
}

// Takes one packet and gives its first byte; answers CONNECT (MQTT 3.1.1, section 3.2) and SUBSCRIBE (3.9).
static int take_packet(int peer) {
  static unsigned char body[1 << 20];
  unsigned char first, byte;
  size_t length = 0;
  int shift = 0;
  fill(peer, &first, 1);
  do {
    fill(peer, &byte, 1);
    length |= (size_t)(byte & 127) << shift;
    shift += 7;
  } while (byte & 128 && shift < 28);
  if (first >> 4 == 3) return first;
  if (length > sizeof body) exit(76);
  fill(peer, body, length);
  if (first >> 4 == 1) send(peer, "\x20\x02\x00\x00", 4, MSG_NOSIGNAL);
  if (first >> 4 == 8) send(peer, (unsigned char[]){0x90, 3, body[0], body[1], 1}, 5, MSG_NOSIGNAL);
  return first;
}

int main(int count, char **words) {
  if (count < 4) return 64;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4) != 0) return 71;
  pin(0);
  for (int rounds = atoi(words[2]); rounds > 0; rounds--) {
    alarm(PATIENCE_SECONDS);
    double begin = microseconds();
    pid_t child = vfork();
    if (child == 0) {
      pin(1);
      execv(words[3], words + 3);
      _exit(127);
    }
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    while (take_packet(peer) >> 4 != 3) continue;
    printf("%.0f\n", microseconds() - begin);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(peer);
  }
  return 0;
}
