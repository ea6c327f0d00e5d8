#include "mote_linux.h"
