#include "mote_tls.h"
