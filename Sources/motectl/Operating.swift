// How the operator's commands run: until they are done or interrupted, with errors and exit statuses of one kind.

import ArgumentParser
import Dispatch
import Foundation
import PlatformClient

/// Exit statuses, as sysexits.h has them where it has one.
enum CommandStatus {
  /// What was asked for was not achieved: a device said no, an image was not installed.
  static let failed: Int32 = 1
  /// EX_DATAERR … EX_CONFIG
  static func of(_ kind: ClientError.Kind) -> Int32 {
    switch kind {
    case .refused: 65
    case .noInput: 66
    case .notFound: 67
    case .unreachable: 69
    case .timeout: 75
    case .malformed: 76
    case .denied: 77
    case .configuration: 78
    }
  }

  /// For `--help`.
  static let explanation = """
    Exit status: 0 done; 1 a device refused or failed; 64 wrong usage; 65 the platform refused the data; 66 a file \
    cannot be read; 67 no such device; 69 the platform is not reachable; 75 time ran out; 76 the platform's answer is \
    not of the protocol; 77 credentials refused; 78 wrong configuration; 130 interrupted.
    """
}

/// Runs a command's body to its end.
///
/// - Parameters:
///   - isEndless: Whether SIGINT and SIGTERM are the usual end, and not a failure.
///   - farewellSeconds: How long the body may take for its farewell after a signal. A second signal ends that.
/// - Throws: `ExitCode`; what went wrong is on standard error then.
func operate(
  isEndless: Bool = false, farewellSeconds: Double = 1, _ body: @escaping @Sendable () async throws -> Void
) async throws {
  let status: @Sendable (String) -> Int32 = { signal in
    isEndless ? 0 : 128 + (signal == "SIGINT" ? SIGINT : SIGTERM)
  }
  do {
    if let signal = try await untilInterrupted(body, orExit: status, after: farewellSeconds) {
      throw ExitCode(status(signal))
    }
  } catch let error as ClientError {
    complain(error.description)
    throw ExitCode(CommandStatus.of(error.kind))
  } catch is OutputClosed {
    // Whoever read our output has seen enough.
    throw ExitCode.success
  }
}

/// Runs `body`, which SIGINT and SIGTERM cancel. Gives the signal that did; where the body does not take its leave in
/// time, ends the program.
private func untilInterrupted(
  _ body: @escaping @Sendable () async throws -> Void, orExit status: @escaping @Sendable (String) -> Int32,
  after farewellSeconds: Double
) async throws -> String? {
  let signals = TerminationSignals()
  let (names, continuation) = AsyncStream.makeStream(of: String.self)
  // Not a child of ours: it waits for as long as the program runs.
  Task {
    let name = await signals.first()
    continuation.yield(name)
    DispatchQueue.global().asyncAfter(deadline: .now() + farewellSeconds) { Foundation.exit(status(name)) }
    _ = await signals.first()
    Foundation.exit(status(name))
  }
  return try await withThrowingTaskGroup(of: String?.self) { tasks in
    tasks.addTask {
      try await body()
      return nil
    }
    tasks.addTask {
      for await name in names { return name }
      return nil
    }
    let first = try await tasks.next() ?? nil
    tasks.cancelAll()
    // The body takes its leave; that it does so early is no failure of its own.
    if first != nil { _ = try? await tasks.next() }
    return first
  }
}

/// A time limit: `30s`, `5m`, `2h`, `500ms`; a bare number is in seconds.
struct TimeLimit: ExpressibleByArgument, Equatable {
  let seconds: Double

  init(seconds: Double) { self.seconds = seconds }

  init?(argument: String) {
    let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]
    let unit = units.first { argument.hasSuffix($0.0) }
    guard let number = Double(argument.dropLast(unit?.0.count ?? 0)), number > 0, number.isFinite,
      number * (unit?.1 ?? 1) <= 31_536_000
    else { return nil }
    seconds = number * (unit?.1 ?? 1)
  }

  var defaultValueDescription: String { "\(Int(seconds))s" }
}
