// Keys as they are pressed, without waiting for the end of a line.

import Foundation

/// The terminal's keys, from when this is made to the end of the program. Ctrl-C and Ctrl-Z stay signals.
struct TerminalKeys: Sendable {
  /// Each key's bytes.
  let pressed: AsyncStream<UInt8>

  /// Nil where standard input is no terminal, or another program's.
  init?() {
    guard isatty(STDIN_FILENO) == 1, TerminalKeys.isForeground, tcgetattr(STDIN_FILENO, &usualMode) == 0 else {
      return nil
    }
    let (stream, continuation) = AsyncStream.makeStream(of: UInt8.self, bufferingPolicy: .bufferingNewest(64))
    pressed = stream
    claim()
    // The terminal is the shell's again, however the program ends.
    atexit { tcsetattr(STDIN_FILENO, TCSANOW, &usualMode) }
    Thread.detachNewThread {
      var byte: UInt8 = 0
      while true {
        let count = read(STDIN_FILENO, &byte, 1)
        if count == 1 { continuation.yield(byte) } else if count == 0 || errno != EINTR { return continuation.finish() }
      }
    }
  }

  /// Whether the terminal listens to this program: not where it was started with `&`.
  private static var isForeground: Bool {
    let group = tcgetpgrp(STDIN_FILENO)
    return group < 0 || group == getpgrp()
  }

  /// Takes the terminal's mode, again where a shell has changed it meanwhile.
  func claim() {
    var mode = termios()
    guard TerminalKeys.isForeground, tcgetattr(STDIN_FILENO, &mode) == 0 else { return }
    let lines = tcflag_t(ICANON | ECHO)
    guard mode.c_lflag & lines != 0 else { return }
    mode.c_lflag &= ~lines
    tcsetattr(STDIN_FILENO, TCSANOW, &mode)
  }
}

/// The mode that the terminal had.
nonisolated(unsafe) private var usualMode = termios()
