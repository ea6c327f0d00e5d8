// floor PORT COUNT: what the work of an event takes without an agent around it, for Scripts/bench to compare with.
// Reads the three files that the bench's agent reads, scales and rounds their numbers, writes them as JSON with a time
// stamp, and sends that at QoS 0, COUNT times, with the same system calls; then waits until its standard input ends.
// As one writes it for one board in an afternoon: nothing is configured, and nothing is checked that the bench keeps
// right.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// A number is digits / 10^decimals.
struct sensor {
  const char *name, *path;
  int64_t scale;
  int scale_decimals, decimals_max, file;
};

static struct sensor sensors[] = {
    {"load", "/proc/loadavg", 1, 0, 2, -1},
    {"uptime", "/proc/uptime", 1, 3, 3, -1},
    {"received", "/sys/class/net/lo/statistics/rx_bytes", 9765625, 10, 1, -1},
};
enum { SENSORS = sizeof sensors / sizeof *sensors, HEADER_MAX = 5 };
// No topic of an event: the bench counts those of agents.
static const char topic[] = "iot-2/out/status/fmt/json";

static const int64_t powers[] = {1,       10,       100,       1000,       10000,      100000,
                                 1000000, 10000000, 100000000, 1000000000, 10000000000};

static char *put_text(char *end, const char *text) {
  size_t length = strlen(text);
  memcpy(end, text, length);
  return end + length;
}

// With zeros in front, up to `width` digits. 32 bits: wider numbers are divided by a function.
static char *put_digits(char *end, uint32_t value, int width) {
  char digits[10];
  int count = 0;
  for (; value > 0 || count < width; value /= 10) digits[count++] = (char)('0' + value % 10);
  while (count > 0) *end++ = digits[--count];
  return end;
}

static char *put_value(char *end, const struct sensor *sensor) {
  char text[256];
  ssize_t length = pread(sensor->file, text, sizeof text - 1, 0);
  if (length <= 0) exit(74);
  text[length] = 0;
  int64_t digits = 0;
  int decimals = sensor->scale_decimals, is_behind_point = 0;
  for (const char *next = text; (*next >= '0' && *next <= '9') || *next == '.'; next++) {
    if (*next == '.') {
      is_behind_point = 1;
    } else {
      digits = digits * 10 + (*next - '0');
      decimals += is_behind_point;
    }
  }
  digits *= sensor->scale;
  if (decimals > sensor->decimals_max) {
    int64_t unit = powers[decimals - sensor->decimals_max];
    digits = (digits + unit / 2) / unit;
    decimals = sensor->decimals_max;
  }
  int64_t whole = digits / powers[decimals];
  end = put_digits(end, (uint32_t)whole, 1);
  if (decimals == 0) return end;
  *end++ = '.';
  return put_digits(end, (uint32_t)(digits - whole * powers[decimals]), decimals);
}

static char *put_time(char *end) {
  struct timespec now;
  struct tm date;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &date);
  const int parts[] = {date.tm_year + 1900, date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec};
  for (int part = 0; part < 6; part++) {
    end = put_digits(end, (uint32_t)parts[part], part == 0 ? 4 : 2);
    *end++ = "--T::."[part];
  }
  end = put_digits(end, (uint32_t)now.tv_nsec / 1000000, 3);
  *end++ = 'Z';
  return end;
}

static char *put_event(char *end) {
  end = put_text(end, "{\"d\":{");
  for (int index = 0; index < SENSORS; index++) {
    end = put_text(end, index == 0 ? "\"" : ",\"");
    end = put_text(end, sensors[index].name);
    end = put_text(end, "\":");
    end = put_value(end, &sensors[index]);
  }
  end = put_text(end, "},\"ts\":\"");
  end = put_time(end);
  return put_text(end, "\"}");
}

// MQTT 3.1.1, section 3.3: the header has the length of what follows, and is written when that is there.
static void publish(int server) {
  static char packet[1024];
  char *const begin = packet + HEADER_MAX, *end = begin;
  *end++ = 0;
  *end++ = sizeof topic - 1;
  end = put_text(end, topic);
  end = put_event(end);
  size_t length = (size_t)(end - begin);
  char header[HEADER_MAX] = {0x30};
  int count = 1;
  for (size_t left = length; count == 1 || left > 0; left >>= 7)
    header[count++] = (char)((left & 127) | (left > 127 ? 128 : 0));
  char *first = begin - count;
  memcpy(first, header, (size_t)count);
  if (write(server, first, (size_t)(end - first)) != end - first) exit(74);
}

static int64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int main(int count, char **words) {
  if (count != 3) return 64;
  int server = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (connect(server, (struct sockaddr *)&address, sizeof address) != 0) return 69;
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  // CONNECT without a client identifier (section 3.1): several of us run at a time.
  static const char hello[] = "\x10\x0c\0\4MQTT\4\2\0\0\0";
  char answer[4];
  if (write(server, hello, 14) != 14 || recv(server, answer, 4, MSG_WAITALL) != 4 || answer[3] != 0) return 69;
  for (int index = 0; index < SENSORS; index++)
    if ((sensors[index].file = open(sensors[index].path, O_RDONLY)) < 0) return 66;

  struct pollfd waits = {.fd = server, .events = POLLIN};
  int64_t due = milliseconds();
  for (int messages = atoi(words[2]); messages > 0; messages--) {
    // Always due: the bench counts instructions, and does not wait for the next event.
    int64_t left = due - milliseconds();
    if (poll(&waits, 1, left > 0 ? (int)left : 0) != 0) return 70;
    publish(server);
  }
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  return 0;
}
