// Devices, and sets of descriptors that stay the same from turn to turn.
#include "mote_machine.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/syscall.h>

// Not by ioctl(): the C library's has a table of all calls whose structures have changed.
int mote_control_device(int device, uint32_t request, void *structure) {
  return (int)syscall(SYS_ioctl, device, (unsigned long)request, structure);
}

int mote_make_watch(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int change(int set, int operation, int descriptor, uint32_t number, int is_once) {
  struct epoll_event event = {.events = EPOLLIN | (is_once ? (uint32_t)EPOLLONESHOT : 0), .data = {.u64 = number}};
  return epoll_ctl(set, operation, descriptor, &event);
}

int mote_watch(int set, int descriptor, uint32_t number, int is_once) {
  (void)fcntl(descriptor, F_SETFL, O_NONBLOCK);
  return change(set, EPOLL_CTL_ADD, descriptor, number, is_once);
}

int mote_watch_again(int set, int descriptor, uint32_t number) {
  return change(set, EPOLL_CTL_MOD, descriptor, number, 1);
}

int64_t mote_next_watched(int set) {
  struct epoll_event event;
  return epoll_wait(set, &event, 1, 0) == 1 ? (int64_t)event.data.u64 : -1;
}

int mote_await(int descriptor, int events, int milliseconds) {
  struct pollfd entry = {.fd = descriptor, .events = (short)events};
  int result;
  do {
    result = poll(&entry, 1, milliseconds);
  } while (result < 0 && errno == EINTR);
  return result;
}

// struct termios2 of asm/termbits.h, which cannot be had beside termios.h.
struct line_settings {
  uint32_t input, output, control, local;
  uint8_t line, characters[19];
  uint32_t input_speed, output_speed;
};

enum {
  GET_SETTINGS = 0x802C542A,
  SET_SETTINGS = 0x402C542B,
  FLUSH = 0x540B,
  EIGHT_BITS = 0x30,
  RECEIVES = 0x80,
  EVEN_PARITY = 0x100,
  ODD_PARITY = 0x200,
  WITHOUT_MODEM = 0x800,
  OTHER_SPEED = 0x1000,
};

int mote_open_line(const char *path, uint32_t baud, int parity) {
  int line = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  struct line_settings settings, found;
  memset(&settings, 0, sizeof settings);
  settings.control = EIGHT_BITS | RECEIVES | WITHOUT_MODEM | OTHER_SPEED | OTHER_SPEED << 16;
  if (parity) settings.control |= parity == 1 ? EVEN_PARITY : EVEN_PARITY | ODD_PARITY;
  settings.input_speed = settings.output_speed = baud;
  if (line < 0 || flock(line, LOCK_EX) < 0 || mote_control_device(line, SET_SETTINGS, &settings) < 0
      || mote_control_device(line, GET_SETTINGS, &found) < 0) {
    return -1;
  }
  // Parity that the hardware does not have is left out without a word.
  if ((found.control ^ settings.control) & (EVEN_PARITY | ODD_PARITY)) {
    errno = EINVAL;
    return -1;
  }
  // Its argument is a number: input and output.
  return (int)syscall(SYS_ioctl, line, (unsigned long)FLUSH, 2UL) < 0 ? -1 : line;
}
