// System headers, and the few macros and variadic functions that Swift cannot import.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "mote_net.h"
