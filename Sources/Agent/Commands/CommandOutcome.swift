// How commands end.

import HostInterface
import IoTPlatform

/// How a command ended, as published in the outcome event; `redelivered` is one that seems to be known already,
/// `interrupted` an action whose program ended with the agent.
enum CommandOutcome {
  case ok, failed, timeout, refused, busy, unknown, notExecutable, tooLarge, redelivered, interrupted

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
    case .interrupted: "interrupted"
    }
  }
}

extension CommandOutcome {
  /// The code that answers a request for a custom action.
  var code: Int {
    switch self {
    case .ok: ManagementCode.ok
    case .unknown: ManagementCode.notImplemented
    case .refused, .tooLarge: ManagementCode.badRequest
    case .failed, .timeout, .busy, .notExecutable, .redelivered, .interrupted: ManagementCode.failed
    }
  }
}
