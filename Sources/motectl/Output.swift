// What is written to the terminal, or to the pipe in its place. Text from devices is never trusted with a terminal.

import Bytes
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

/// Nobody reads standard output any more.
struct OutputClosed: Error {}

/// Writes a line to standard output, at once.
func emit(_ line: String) throws { try write(line + "\n") }

/// Writes a value as a line of JSON.
func emit(_ value: JSONValue) throws { try write(safeJSON(value) + "\n") }

/// Writes text to standard output, at once.
func write(_ text: String) throws {
  do {
    try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
  } catch {
    throw OutputClosed()
  }
}

/// Writes a message for the person to standard error.
func complain(_ message: String) {
  try? FileHandle.standardError.write(contentsOf: Data("motectl: \(printable(message))\n".utf8))
}

/// Text that cannot control a terminal: control characters, and characters that turn the direction of text around,
/// become `\x1b` or `\u{202e}`.
func printable(_ text: String) -> String {
  guard text.unicodeScalars.contains(where: isControl) else { return text }
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\n": result += "\\n"
    case "\t": result += "\\t"
    case "\r": result += "\\r"
    case _ where isControl(scalar):
      let digits = String(scalar.value, radix: 16)
      result += scalar.value < 0x100 ? "\\x" + (digits.count < 2 ? "0" : "") + digits : "\\u{\(digits)}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}

/// JSON text without such characters: there they can only be inside strings, where they have escapes of their own.
func safeJSON(_ value: JSONValue) -> String {
  let text = value.text
  guard text.unicodeScalars.contains(where: isControl) else { return text }
  var result = ""
  for scalar in text.unicodeScalars {
    if isControl(scalar) {
      for unit in String(scalar).utf16 {
        let digits = String(unit, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      }
    } else {
      result.unicodeScalars.append(scalar)
    }
  }
  return result
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.properties.generalCategory {
  case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: true
  default: false
  }
}

/// A payload as one line: text as it is, anything else as Base64.
func payloadText(_ payload: [UInt8]) -> String {
  String(validating: payload, as: UTF8.self).map(printable) ?? "base64:" + base64(payload)
}

/// A payload as members of JSON: `payload` for JSON, `text` for other text, `base64` for bytes.
func payloadMember(_ payload: [UInt8]) -> JSONValue.Member {
  if let value = try? JSONValue(payload.span) { return .init("payload", value) }
  if let text = String(validating: payload, as: UTF8.self) { return .init("text", .string(text)) }
  return .init("base64", .string(base64(payload)))
}

/// The value of a key=value pair: in quotes where it would not be one word.
func word(_ text: String) -> String {
  let isPlain = !text.isEmpty && !text.contains { $0.isWhitespace || $0 == "\"" || $0 == "=" }
  return isPlain ? printable(text) : safeJSON(.string(text))
}

/// This moment as the platform writes it.
func timestamp(_ date: Date = Date()) -> String {
  WallTime(milliseconds: Int64(date.timeIntervalSince1970 * 1000)).text
}
