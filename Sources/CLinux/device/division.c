// Division for 32-bit ARM, which has no instruction for it: as the ARM run-time ABI (4.2, 4.3.1) names it. libgcc's is
// quicker with its loops written out, and 1.2 KB larger. No caller divides by zero: Swift looks first.
#include <stdint.h>

// The quotient in the low half, which is the first register, and the remainder in the high one.
uint64_t __aeabi_uidivmod(uint32_t dividend, uint32_t divisor) {
  uint32_t quotient = 0;
  if (dividend >= divisor) {
    if (divisor == 0) __builtin_trap();
    int shift = __builtin_clz(divisor) - __builtin_clz(dividend);
    divisor <<= shift;
    for (; shift >= 0; shift--, divisor >>= 1) {
      quotient <<= 1;
      if (dividend >= divisor) {
        dividend -= divisor;
        quotient |= 1;
      }
    }
  }
  return (uint64_t)dividend << 32 | quotient;
}

uint32_t __aeabi_uidiv(uint32_t dividend, uint32_t divisor) { return (uint32_t)__aeabi_uidivmod(dividend, divisor); }

// The remainder has the dividend's sign.
uint64_t __aeabi_idivmod(int32_t dividend, int32_t divisor) {
  uint32_t dividend_sign = (uint32_t)(dividend >> 31), divisor_sign = (uint32_t)(divisor >> 31);
  uint64_t both = __aeabi_uidivmod(((uint32_t)dividend ^ dividend_sign) - dividend_sign,
                                   ((uint32_t)divisor ^ divisor_sign) - divisor_sign);
  uint32_t quotient_sign = dividend_sign ^ divisor_sign;
  uint32_t quotient = ((uint32_t)both ^ quotient_sign) - quotient_sign;
  uint32_t remainder = ((uint32_t)(both >> 32) ^ dividend_sign) - dividend_sign;
  return (uint64_t)remainder << 32 | quotient;
}

int32_t __aeabi_idiv(int32_t dividend, int32_t divisor) { return (int32_t)__aeabi_idivmod(dividend, divisor); }

static uint64_t divide(uint64_t dividend, uint64_t divisor, uint64_t *remainder) {
  uint64_t quotient = 0;
  if ((dividend | divisor) >> 32 == 0) {
    quotient = __aeabi_uidivmod((uint32_t)dividend, (uint32_t)divisor);
    *remainder = quotient >> 32;
    return (uint32_t)quotient;
  }
  if (dividend >= divisor) {
    if (divisor == 0) __builtin_trap();
    int shift = __builtin_clzll(divisor) - __builtin_clzll(dividend);
    divisor <<= shift;
    for (; shift >= 0; shift--, divisor >>= 1) {
      quotient <<= 1;
      if (dividend >= divisor) {
        dividend -= divisor;
        quotient |= 1;
      }
    }
  }
  *remainder = dividend;
  return quotient;
}

__attribute__((used)) static uint64_t divide_signed(int64_t dividend, int64_t divisor, int64_t *remainder) {
  uint64_t dividend_sign = (uint64_t)(dividend >> 63), divisor_sign = (uint64_t)(divisor >> 63), rest;
  uint64_t quotient = divide(((uint64_t)dividend ^ dividend_sign) - dividend_sign,
                             ((uint64_t)divisor ^ divisor_sign) - divisor_sign, &rest);
  uint64_t quotient_sign = dividend_sign ^ divisor_sign;
  *remainder = (int64_t)((rest ^ dividend_sign) - dividend_sign);
  return (quotient ^ quotient_sign) - quotient_sign;
}

__attribute__((used)) static uint64_t divide_unsigned(uint64_t dividend, uint64_t divisor, uint64_t *remainder) {
  return divide(dividend, divisor, remainder);
}

// The quotient comes back in the first two registers and the remainder in the next two, which C cannot say.
#define RETURN_BOTH(name, function)                                                                                    \
  __attribute__((naked)) void name(void) {                                                                             \
    __asm__("push {r4, lr}\n"                                                                                          \
            "sub sp, sp, #16\n"                                                                                        \
            "add r12, sp, #8\n"                                                                                        \
            "str r12, [sp]\n"                                                                                          \
            "bl " #function "\n"                                                                                       \
            "ldrd r2, r3, [sp, #8]\n"                                                                                  \
            "add sp, sp, #16\n"                                                                                        \
            "pop {r4, pc}\n");                                                                                         \
  }
RETURN_BOTH(__aeabi_uldivmod, divide_unsigned)
RETURN_BOTH(__aeabi_ldivmod, divide_signed)
