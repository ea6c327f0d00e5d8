// Whether the file that a command names can be executed, for a person who wants to know before a command comes.

import Bytes
import CLinux

/// Why a file cannot be executed.
public enum ProgramFault: UInt8, Equatable, Sendable {
  /// There is no such file, or we may not look for it.
  case notFound
  /// It is a folder or a device.
  case notRegular
  /// We may not execute it.
  case notPermitted
  /// Its first line ends with a carriage return, which the kernel takes for a part of the interpreter's name.
  case carriageReturn
  /// Its first line names an interpreter that is not there.
  case noInterpreter
  /// It is no program, and has no first line that names an interpreter.
  case noProgram
}

/// Files that commands execute.
public enum ProgramFile {
  /// Why the file at `path` cannot be executed; nil where nothing speaks against it. May wait for the file system.
  public static func fault(_ path: Span<UInt8>) -> ProgramFault? {
    let path = PathText(path)
    guard let status = System.status(of: path) else { return .notFound }
    guard status.kind == S_IFREG else { return .notRegular }
    guard path.withPointer({ access($0, X_OK) }) == 0 else { return .notPermitted }
    // As much as execve(2) looks at. What may be executed need not be readable.
    var start = InlineArray<256, UInt8>(repeating: 0)
    var bytes = start.mutableSpan
    guard let count = System.readSmallFile(path, into: &bytes) else { return nil }
    return fault(start: start.span.extracting(0..<count))
  }

  private static func fault(start: Span<UInt8>) -> ProgramFault? {
    guard start.starts(with: "#!") else { return start.starts(with: "\u{7F}ELF") ? nil : .noProgram }
    let lineEnd = start.firstIndex(of: UInt8(ascii: "\n")) ?? start.count
    if start[lineEnd - 1] == UInt8(ascii: "\r") { return .carriageReturn }
    var lower = 2
    while lower < lineEnd, start[lower].isBlank { lower += 1 }
    var upper = lower
    while upper < lineEnd, !start[upper].isBlank { upper += 1 }
    let interpreter = PathText(start.extracting(lower..<upper))
    return interpreter.withPointer({ access($0, X_OK) }) == 0 ? nil : .noInterpreter
  }
}
