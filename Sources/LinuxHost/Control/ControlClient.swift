// The other side of the control socket: a program that asks, and waits for its answer.

import Bytes
import CLinux
import HostInterface

/// One question to a running agent, of a program that prints and ends.
public enum ControlClient {
  /// How long an agent may say nothing, in seconds: others may be in front of us, and take their time.
  private static var patienceSeconds: Int32 { 15 }

  /// Sends `request` to the agent that listens at `path`, and appends all that it answers to `answer`.
  @inline(never)
  public static func ask(
    _ path: Span<UInt8>, _ request: Span<UInt8>, into answer: inout ByteBuffer
  ) throws(ControlClientFailure) {
    let text = PathText(path)
    var free = answer.freeSpan
    let count = text.withPointer { path in
      request.withUnsafeBytes { request in
        free.withUnsafeMutableBytes { answer -> Int in
          guard let start = request.baseAddress, let room = answer.baseAddress else { return -1 }
          return mote_ask_control(path, start, request.count, room, answer.count, patienceSeconds)
        }
      }
    }
    if count >= 0 { return answer.commit(count) }
    switch mote_errno() {
    case 0: throw .noAnswer
    case EACCES, EPERM: throw .notPermitted
    default: throw .noAgent
    }
  }
}

/// Why there is no answer.
public enum ControlClientFailure: UInt8, Error {
  /// Nobody listens there.
  case noAgent
  /// We may not ask.
  case notPermitted
  /// The agent has not answered in time, or has ended.
  case noAnswer
}
