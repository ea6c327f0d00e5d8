"""Emulated boards: real kernels with the real program in QEMU."""
