// Name look-up of a device build: hosts(5), resolv.conf(5) and the questions that RFC 1035 has for addresses. The C
// library's own does the same for every kind of question and service, and is four times as large.
#pragma once
#include "mote_net.h"

// Understands a numeric address of `family`, or of either (AF_UNSPEC); an IPv6 one may name its interface ("%eth0").
// Returns 1, or 0 for what is none.
int mote_read_address(const char *text, int family, struct mote_address *address);

// Looks up the addresses of `host` of one family, and waits for an answer up to `seconds_max`. Returns how many of the
// MOTE_ADDRESSES_MAX there are, or a negative EAI_… number.
int mote_resolve(const char *host, int family, unsigned seconds_max, struct mote_address *addresses);
