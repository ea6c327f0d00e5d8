// For struct ifreq and the like.
#define _GNU_SOURCE
#include "resolver.h"
#include "children.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>

enum {
  // As in other resolvers: what an administrator writes beyond is not looked at.
  SERVERS_MAX = 3,
  LINE_MAX_BYTES = 256,
  // A name with its lengths, RFC 1035 2.3.4; its labels.
  NAME_MAX_BYTES = 255,
  LABEL_MAX_BYTES = 63,
  HEADER_BYTES = 12,
  // A length, which a connection has in front, and a message. What is larger is read as far as this.
  MESSAGE_MAX_BYTES = 2048,
  LENGTH_BYTES = 2,
  TYPE_IPV4 = 1,
  TYPE_IPV6 = 28,
  PORT = 53,
  // A server that has failed is asked at once again so often, besides each time that all are asked.
  FAILURES_MAX = 2,
};

// --- Files ------------------------------------------------------------------------------------------------------

struct lines {
  int file;
  int position, count;
  char bytes[512];
};

// The next line, as far as it fits, without a comment. Returns 0 behind the last one.
static __attribute__((noinline)) int next_line(struct lines *lines, char *line) {
  int length = 0, has_byte = 0;
  for (;;) {
    if (lines->position == lines->count) {
      lines->position = 0;
      lines->count = (int)read(lines->file, lines->bytes, sizeof(lines->bytes));
      if (lines->count <= 0) {
        lines->count = 0;
        break;
      }
    }
    char byte = lines->bytes[lines->position++];
    has_byte = 1;
    if (byte == '\n') break;
    if (length < LINE_MAX_BYTES - 1) line[length++] = byte;
  }
  line[length] = 0;
  for (char *at = line; *at != 0; at++) {
    if (*at == '#') *at = 0;
  }
  return has_byte;
}

static __attribute__((noinline)) int open_lines(struct lines *lines, const char *path) {
  lines->file = open(path, O_RDONLY | O_CLOEXEC);
  lines->position = lines->count = 0;
  return lines->file >= 0;
}

// Cuts the next word off.
static __attribute__((noinline)) char *next_word(char **rest) {
  char *word = *rest;
  while (*word != 0 && (unsigned char)*word <= ' ') word++;
  if (*word == 0) return NULL;
  char *end = word;
  while ((unsigned char)*end > ' ') end++;
  if (*end != 0) *end++ = 0;
  *rest = end;
  return word;
}

static __attribute__((noinline)) unsigned number(const char *text) {
  unsigned value = 0;
  for (; *text >= '0' && *text <= '9' && value < 10000; text++) value = 10 * value + (unsigned)(*text - '0');
  return value;
}

// --- Addresses --------------------------------------------------------------------------------------------------

static unsigned interface_index(const char *name) {
  struct ifreq request;
  unsigned index = number(name);
  size_t length = strlen(name);
  if (index > 0 || length >= sizeof(request.ifr_name)) return index;
  memset(&request, 0, sizeof(request));
  memcpy(request.ifr_name, name, length);
  int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  // Not by ioctl(): the C library's has a table of all calls whose structures have changed.
  if (descriptor >= 0 && syscall(SYS_ioctl, descriptor, SIOCGIFINDEX, &request) == 0) {
    index = (unsigned)request.ifr_ifindex;
  }
  if (descriptor >= 0) close(descriptor);
  return index;
}

int mote_read_address(const char *text, int family, struct mote_address *address) {
  char copy[LINE_MAX_BYTES];
  memset(address, 0, sizeof(*address));
  if (family != AF_INET6 && inet_pton(AF_INET, text, address->bytes) == 1) {
    address->byte_count = 4;
    return 1;
  }
  size_t length = strlen(text);
  if (family == AF_INET || length >= sizeof(copy)) return 0;
  memcpy(copy, text, length + 1);
  char *interface = strchr(copy, '%');
  if (interface != NULL) {
    *interface++ = 0;
    address->scope = interface_index(interface);
    if (address->scope == 0) return 0;
  }
  address->byte_count = 16;
  return inet_pton(AF_INET6, copy, address->bytes) == 1;
}

// What hosts(5) says of a name: how many addresses, or EAI_NODATA if only some of the other family.
static __attribute__((noinline)) int read_hosts(const char *host, int family, struct mote_address *addresses) {
  struct lines lines;
  char line[LINE_MAX_BYTES];
  int count = 0, is_known = 0;
  if (!open_lines(&lines, "/etc/hosts")) return 0;
  while (count < MOTE_ADDRESSES_MAX && next_line(&lines, line)) {
    char *rest = line, *address = next_word(&rest), *name;
    while (address != NULL && (name = next_word(&rest)) != NULL) {
      if (strcmp(name, host) != 0) continue;
      is_known = 1;
      count += mote_read_address(address, family, &addresses[count]);
      break;
    }
  }
  close(lines.file);
  return count > 0 ? count : is_known ? EAI_NODATA : 0;
}

// --- Settings ---------------------------------------------------------------------------------------------------

struct settings {
  unsigned server_count, dots_min, seconds, attempts;
  struct mote_address servers[SERVERS_MAX];
  char domains[LINE_MAX_BYTES];
};

static void take_option(const char *word, const char *name, unsigned min, unsigned max, unsigned *value) {
  size_t length = strlen(name);
  if (strncmp(word, name, length) != 0) return;
  *value = number(word + length);
  if (*value < min) *value = min;
  if (*value > max) *value = max;
}

static __attribute__((noinline)) void read_settings(struct settings *settings) {
  struct lines lines;
  char line[LINE_MAX_BYTES];
  memset(settings, 0, sizeof(*settings));
  settings->dots_min = 1;
  settings->seconds = 5;
  settings->attempts = 2;
  if (open_lines(&lines, "/etc/resolv.conf")) {
    while (next_line(&lines, line)) {
      char *rest = line, *key = next_word(&rest), *word;
      if (key == NULL) continue;
      if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) memcpy(settings->domains, rest, strlen(rest) + 1);
      if (strcmp(key, "nameserver") == 0 && settings->server_count < SERVERS_MAX && (word = next_word(&rest)) != NULL) {
        settings->server_count += (unsigned)mote_read_address(
            word, AF_UNSPEC, &settings->servers[settings->server_count]);
      }
      if (strcmp(key, "options") != 0) continue;
      while ((word = next_word(&rest)) != NULL) {
        take_option(word, "ndots:", 0, 15, &settings->dots_min);
        take_option(word, "timeout:", 1, 60, &settings->seconds);
        take_option(word, "attempts:", 1, 10, &settings->attempts);
      }
    }
    close(lines.file);
  }
  if (settings->server_count == 0) settings->server_count = (unsigned)mote_read_address(
      "127.0.0.1", AF_INET, &settings->servers[0]);
}

// --- Messages ---------------------------------------------------------------------------------------------------

// Writes a question (RFC 1035 4.1) for a name of which `length` bytes count; 0 if it is no name.
static __attribute__((noinline)) size_t write_question(const char *name, size_t length, int type, uint8_t *message) {
  uint8_t *label = message + HEADER_BYTES, *at = label + 1;
  if (length == 0 || length > NAME_MAX_BYTES - 2) return 0;
  memset(message, 0, HEADER_BYTES);
  (void)getrandom(message, 2, GRND_NONBLOCK);
  message[2] = 1;
  message[5] = 1;
  for (size_t index = 0; index <= length; index++) {
    if (index < length && name[index] != '.') {
      *at++ = (uint8_t)name[index];
      continue;
    }
    size_t count = (size_t)(at - label) - 1;
    if (count == 0 || count > LABEL_MAX_BYTES) return 0;
    *label = (uint8_t)count;
    label = at++;
  }
  *label = 0;
  at[0] = 0;
  at[1] = (uint8_t)type;
  at[2] = 0;
  at[3] = 1;
  return (size_t)(at + 4 - message);
}

static unsigned two_bytes(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

// May lead further than the end, by no more than a label.
static const uint8_t *behind_name(const uint8_t *at, const uint8_t *end) {
  while (at < end && *at != 0) {
    if (*at >= 0xC0) return at + 2;
    at += 1 + *at;
  }
  return at + 1;
}

// Takes the addresses out of an answer, under whichever name: aliases are followed by the server.
static __attribute__((noinline)) int take_addresses(
    const uint8_t *message, size_t size, int type, struct mote_address *addresses) {
  const uint8_t *at = message + HEADER_BYTES, *end = message + size;
  const unsigned address_bytes = type == TYPE_IPV4 ? 4 : 16;
  int count = 0;
  for (unsigned questions = two_bytes(message + 4); questions > 0 && at < end; questions--) {
    at = behind_name(at, end) + 4;
  }
  for (unsigned records = two_bytes(message + 6); records > 0 && count < MOTE_ADDRESSES_MAX && at < end; records--) {
    at = behind_name(at, end);
    if (end - at < 10) break;
    unsigned record_type = two_bytes(at), data_bytes = two_bytes(at + 8);
    at += 10;
    if (end - at < (ptrdiff_t)data_bytes) break;
    if (record_type == (unsigned)type && data_bytes == address_bytes) {
      struct mote_address *address = &addresses[count++];
      memset(address, 0, sizeof(*address));
      memcpy(address->bytes, at, address_bytes);
      address->byte_count = address_bytes;
    }
    at += data_bytes;
  }
  return count;
}

// --- Servers ----------------------------------------------------------------------------------------------------

// Connected, so that only the server's answers arrive.
static int open_server(const struct mote_address *server, int kind) {
  int descriptor = socket(server->byte_count == 4 ? AF_INET : AF_INET6, kind | SOCK_CLOEXEC, 0);
  if (descriptor >= 0 && mote_connect(descriptor, server, PORT) != 0) {
    close(descriptor);
    return -1;
  }
  return descriptor;
}

// For what no datagram has room for. `question` and `message` begin with their lengths. Returns the message's size.
static size_t ask_connected(const struct mote_address *server, uint8_t *question, size_t size, uint8_t *message) {
  size_t got = 0;
  int descriptor = open_server(server, SOCK_STREAM);
  if (descriptor < 0) return 0;
  question[0] = (uint8_t)(size >> 8);
  question[1] = (uint8_t)size;
  if (mote_send(descriptor, question, LENGTH_BYTES + size) > 0) {
    while (got < MESSAGE_MAX_BYTES && (got < LENGTH_BYTES || got < LENGTH_BYTES + two_bytes(message))) {
      ssize_t count = recv(descriptor, message + got, MESSAGE_MAX_BYTES - got, 0);
      if (count <= 0) break;
      got += (size_t)count;
    }
  }
  close(descriptor);
  return got < LENGTH_BYTES ? 0 : got - LENGTH_BYTES;
}

// Asks all servers until one knows. Returns how many addresses there are, 0 if there is no such name, or an EAI_…
// number.
static int ask(const struct settings *settings, struct pollfd *sockets, const char *name, size_t length, int type,
               uint64_t deadline, struct mote_address *addresses) {
  uint8_t question[LENGTH_BYTES + HEADER_BYTES + NAME_MAX_BYTES + 4 + 1], message[MESSAGE_MAX_BYTES];
  uint8_t *answer = message + LENGTH_BYTES;
  uint64_t next = 0, now;
  unsigned failures = 0;
  size_t size = write_question(name, length, type, question + LENGTH_BYTES);
  if (size == 0) return EAI_NONAME;
  while ((now = mote_now_ms()) < deadline) {
    if (now >= next) {
      for (unsigned index = 0; index < settings->server_count; index++) {
        (void)mote_send(sockets[index].fd, question + LENGTH_BYTES, size);
      }
      next = now + 1000 * settings->seconds / settings->attempts;
      failures = 0;
    }
    if (poll(sockets, settings->server_count, (int)(next - now)) <= 0) continue;
    for (unsigned index = 0; index < settings->server_count; index++) {
      if (sockets[index].revents == 0) continue;
      // Also takes the error away that a closed port brings.
      ssize_t got = recv(sockets[index].fd, answer, MESSAGE_MAX_BYTES - LENGTH_BYTES, MSG_DONTWAIT);
      if (got < HEADER_BYTES || memcmp(answer, question + LENGTH_BYTES, 2) != 0) continue;
      int code = answer[3] & 15, is_cut = answer[2] & 2;
      if (code == 2 && failures < FAILURES_MAX) {
        failures++;
        (void)mote_send(sockets[index].fd, question + LENGTH_BYTES, size);
      }
      // One that refuses, or cannot do it, is no help; another may be, or the same one later.
      if (code == 3) return 0;
      if (code != 0) continue;
      int count = take_addresses(answer, (size_t)got, type, addresses);
      if (count == 0 && is_cut) {
        size_t whole = ask_connected(&settings->servers[index], question, size, message);
        if (whole < HEADER_BYTES) continue;
        count = take_addresses(answer, whole, type, addresses);
      }
      return count > 0 ? count : EAI_NODATA;
    }
  }
  return EAI_AGAIN;
}

int mote_resolve(const char *host, int family, unsigned seconds_max, struct mote_address *addresses) {
  struct settings settings;
  struct pollfd sockets[SERVERS_MAX];
  char name[NAME_MAX_BYTES + 1 + LINE_MAX_BYTES];
  const int type = family == AF_INET ? TYPE_IPV4 : TYPE_IPV6;
  const uint64_t deadline = mote_now_ms() + 1000 * (uint64_t)seconds_max;
  size_t length = strlen(host);
  if (length == 0 || length > NAME_MAX_BYTES) return EAI_NONAME;
  int count = mote_read_address(host, family, addresses);
  if (count == 0) count = read_hosts(host, family, addresses);
  if (count != 0) return count;
  read_settings(&settings);
  for (unsigned index = 0; index < settings.server_count; index++) {
    sockets[index].fd = open_server(&settings.servers[index], SOCK_DGRAM);
    sockets[index].events = POLLIN;
  }
  unsigned dots = 0;
  for (size_t index = 0; index < length; index++) dots += host[index] == '.';
  memcpy(name, host, length);
  // A name with enough dots, or a last one, is whole.
  if (name[length - 1] == '.') {
    length--;
  } else if (dots < settings.dots_min) {
    char *rest = settings.domains, *domain;
    name[length] = '.';
    while (count == 0 && (domain = next_word(&rest)) != NULL) {
      size_t domain_length = strlen(domain);
      memcpy(name + length + 1, domain, domain_length);
      size_t whole = length + 1 + domain_length;
      if (whole <= NAME_MAX_BYTES - 2) count = ask(&settings, sockets, name, whole, type, deadline, addresses);
    }
  }
  if (count == 0) count = ask(&settings, sockets, name, length, type, deadline, addresses);
  return count == 0 ? EAI_NONAME : count;
}
