// SIGINT and SIGTERM as something to wait for. By a handler and a pipe: a signal source of Dispatch takes effect some
// time after it was made, and what comes before that is lost.

import Foundation

/// Where the handler writes the signal's number.
nonisolated(unsafe) private var handlerDescriptor: Int32 = -1

/// SIGINT and SIGTERM, from when this is made; once in a program.
struct TerminationSignals: Sendable {
  private let descriptor: Int32

  init() {
    var pipes: [Int32] = [-1, -1]
    if pipe(&pipes) != 0 { pipes = [-1, -1] }
    descriptor = pipes[0]
    handlerDescriptor = pipes[1]
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(handlerDescriptor, &byte, 1)
      }
    }
  }

  /// Waits for the first of them, and gives its name. Takes a thread.
  func first() async -> String {
    let descriptor = descriptor
    return await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        var byte: UInt8 = 0
        while read(descriptor, &byte, 1) < 0, errno == EINTR {}
        continuation.resume(returning: Int32(byte) == SIGINT ? "SIGINT" : "SIGTERM")
      }
    }
  }
}
