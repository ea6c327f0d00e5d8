// How the operator's commands run: until they are done or interrupted, with errors and exit statuses of one kind.

import ArgumentParser
import Dispatch
import Foundation
import PlatformClient

/// Exit statuses, as sysexits.h has them where it has one.
enum ExitStatus {
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

/// How long a command may take for its farewell after an interrupt.
private let farewellSeconds = 3.0

/// Runs a command's body to its end.
///
/// - Parameter isEndless: Whether SIGINT and SIGTERM are the usual end, and not a failure.
/// - Throws: `ExitCode`; what went wrong is on standard error then.
func operate(isEndless: Bool = false, _ body: @escaping @Sendable () async throws -> Void) async throws {
  do {
    guard let status = try await untilInterrupted(body), !isEndless else { return }
    throw ExitCode(status)
  } catch let error as ClientError {
    complain(error.description)
    throw ExitCode(ExitStatus.of(error.kind))
  } catch is OutputClosed {
    // Whoever read our output has seen enough.
    throw ExitCode.success
  }
}

/// Runs `body`, which SIGINT and SIGTERM cancel. Gives the exit status that the signal stands for.
private func untilInterrupted(_ body: @escaping @Sendable () async throws -> Void) async throws -> Int32? {
  let signals = TerminationSignals()
  let (names, continuation) = AsyncStream.makeStream(of: String.self)
  // Not a child of ours: it waits for as long as the program runs.
  Task {
    let name = await signals.first()
    continuation.yield(name)
    DispatchQueue.global().asyncAfter(deadline: .now() + farewellSeconds) { Foundation.exit(exitStatus(name)) }
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
    return first.map(exitStatus)
  }
}

/// The exit status of a program that a signal ended, as a shell tells it.
private func exitStatus(_ signal: String) -> Int32 { 128 + (signal == "SIGINT" ? SIGINT : SIGTERM) }

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
