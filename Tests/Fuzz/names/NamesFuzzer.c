// Feeds files and name servers' answers to the device's resolver. An input is a line with the family (`4` or `6`) and
// the name, the text of hosts(5) and resolv.conf(5) at once, a zero, the length of a datagram in two bytes, the
// datagram, and what a connection brings. The first two bytes of both answers become those of the question.
//
// What is promised: it ends; an answer is an EAI_… number, or addresses of the family that was asked for, as many as
// there is room for.
#define _GNU_SOURCE
#include "mote_net.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

static const uint8_t *datagram, *stream;
static size_t text_bytes, datagram_bytes, stream_bytes;
static const char *text;
static uint64_t now;

static int open_text(void) {
  int file = memfd_create("text", MFD_CLOEXEC);
  if (write(file, text, text_bytes) != (ssize_t)text_bytes || lseek(file, 0, SEEK_SET) != 0) abort();
  return file;
}

// An identifier that is known, and nothing that waits.
static ssize_t fill(void *bytes, size_t count) {
  memset(bytes, 0x4D, count);
  return (ssize_t)count;
}

#undef _GNU_SOURCE
#define open(path, flags) open_text()
#define getrandom(bytes, count, flags) fill(bytes, count)
#define poll(sockets, count, milliseconds) poll(sockets, count, 0)
#include "../../../Sources/CLinux/resolver.c"
#undef poll

// A look-up takes some turns, whatever it waits for.
uint64_t mote_now_ms(void) { return now += 300; }

static void answer(int descriptor, const uint8_t *bytes, size_t count, size_t identifier) {
  uint8_t copy[8192];
  memcpy(copy, bytes, count);
  if (count >= identifier + 2) memset(copy + identifier, 0x4D, 2);
  (void)!send(descriptor, copy, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Whoever connects finds the answer there.
int mote_connect(int descriptor, const struct mote_address *address, uint16_t port) {
  int kind = 0, ends[2];
  socklen_t size = sizeof(kind);
  if ((address->byte_count != 4 && address->byte_count != 16) || port != 53) abort();
  if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &size) != 0) abort();
  if (socketpair(AF_UNIX, kind, 0, ends) != 0 || dup2(ends[0], descriptor) < 0) abort();
  if (kind == SOCK_STREAM) {
    answer(ends[1], stream, stream_bytes, 2);
  } else {
    answer(ends[1], datagram, datagram_bytes, 0);
  }
  // Its end stays open, so that the question can be sent.
  shutdown(ends[1], SHUT_WR);
  close(ends[0]);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  const uint8_t *line_end = memchr(bytes, '\n', count), *text_end = memchr(bytes, 0, count);
  struct mote_address addresses[MOTE_ADDRESSES_MAX];
  char host[512];
  if (line_end == NULL || text_end == NULL || text_end < line_end || line_end - bytes < 2) return 0;
  size_t host_bytes = (size_t)(line_end - bytes) - 1;
  if (host_bytes >= sizeof(host) || count - (size_t)(text_end - bytes) < 3) return 0;
  int family = bytes[0] == '4' ? AF_INET : AF_INET6;
  memcpy(host, bytes + 1, host_bytes);
  host[host_bytes] = 0;
  text = (const char *)line_end + 1;
  text_bytes = (size_t)(text_end - line_end) - 1;
  datagram = text_end + 3;
  size_t rest = count - (size_t)(datagram - bytes);
  datagram_bytes = (size_t)text_end[1] << 8 | text_end[2];
  if (datagram_bytes > rest) datagram_bytes = rest;
  stream = datagram + datagram_bytes;
  stream_bytes = rest - datagram_bytes;
  now = 0;
  int first = dup(0);
  close(first);
  int found = mote_resolve(host, family, 5, addresses);
  if (found > MOTE_ADDRESSES_MAX || found == 0) abort();
  for (int index = 0; index < found; index++) {
    if (addresses[index].byte_count != (family == AF_INET ? 4 : 16)) abort();
  }
  // A child ends with its descriptors; here there is none.
  close_range((unsigned)first, ~0U, 0);
  return 0;
}
