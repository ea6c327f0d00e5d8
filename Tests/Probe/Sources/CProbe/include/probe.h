// What the probe needs of C: inputs that no optimiser knows, functions that take and give floating-point numbers, and
// output. Results are printed as bits, so that no formatting can hide an error.
#ifndef PROBE_H
#define PROBE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

// Value `index` of a table: 3.5, 8, 0.1, 0.2, -2.25, 1e300, 16777217.
double probe_input(int index);
// The same for whole numbers: 9007199254740993, -7, 3037000500, 5000000000.
int64_t probe_integer(int index);
// first + second × third + fourth, with a float and an integer in between.
double probe_mixed(double first, float second, int32_t third, double fourth);
float probe_half(float value);

void probe_print(const char *name, uint64_t bits);
// Sets the times of the file `path` to `seconds` since 1970 and reads them back; -1 when that fails.
int64_t probe_file_time(const char *path, int64_t seconds);
// Year, month and day of `seconds` since 1970 as the number YYYYMMDD.
int64_t probe_date(int64_t seconds);
int64_t probe_now(void);

// Divides made-up numbers of 64 and 32 bits, with and without a sign, and prints sums of what came out.
void probe_divisions(void);
// Copies pieces of all short lengths from and to everywhere, overlapping or not; prints how many, and how many wrong.
void probe_copies(void);

// Reads pairs of a scalar and a point, 32 bytes each in hexadecimal, until input ends. Prints for each their product,
// and the public key of the scalar and the secret shared with the point as a handshake computes them, if it would.
void probe_curve25519(void);

#endif
