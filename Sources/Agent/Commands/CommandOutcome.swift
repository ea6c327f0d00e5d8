// How commands end.

import HostInterface

/// How a command ended, as published in the outcome event; `redelivered` is one that seems to be known already.
enum CommandOutcome {
  case ok, failed, timeout, refused, busy, unknown, notExecutable, tooLarge, redelivered

  /// How a command ends whose program could not be started.
  init(failedStart start: ProgramStart) { self = start == .noResources ? .busy : .notExecutable }

  var name: StaticString {
    switch self {
    case .ok: "ok"
    case .failed: "failed"
    case .timeout: "timeout"
    case .refused: "refused"
    case .busy: "busy"
    case .unknown: "unknown"
    case .notExecutable: "not-executable"
    case .tooLarge: "too-large"
    case .redelivered: "redelivered"
    }
  }
}
