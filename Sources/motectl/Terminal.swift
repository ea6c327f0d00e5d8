// The terminal: its size, and a region of it that is drawn again and again.

import Foundation

/// Whether standard output is a terminal.
func isTerminal() -> Bool { isatty(STDOUT_FILENO) == 1 }

/// The terminal's size in characters.
func terminalSize() -> (width: Int, height: Int) {
  var size = winsize()
  guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return (80, 24) }
  return (Int(size.ws_col), Int(size.ws_row))
}

/// Lines at the end of the screen that are replaced by newer ones.
struct LiveRegion {
  private var drawn: [String] = []

  /// Replaces the lines that were drawn before. No line may be wider than the terminal.
  mutating func draw(_ lines: [String]) throws {
    if lines == drawn { return }
    // Up to the first of them, and clear from there to the end.
    let back = drawn.isEmpty ? "" : "\u{1B}[\(drawn.count)A\r\u{1B}[J"
    drawn = lines
    try write(back + lines.map { $0 + "\n" }.joined())
  }
}

/// How many columns of a terminal `text` takes.
func columns(_ text: String) -> Int { text.unicodeScalars.reduce(0) { $0 + columns($1) } }

private func columns(_ scalar: Unicode.Scalar) -> Int {
  switch scalar.properties.generalCategory {
  case .nonspacingMark, .enclosingMark, .format: return 0
  default: break
  }
  // The wide blocks of Unicode's East Asian Width (UAX #11), and emoji.
  switch scalar.value {
  case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
    0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
    return 2
  default: return 1
  }
}

/// `text` in exactly so many columns: cut, with an ellipsis, or filled up with blanks.
func fitted(_ text: String, to width: Int) -> String {
  let count = columns(text)
  if count <= width { return text + String(repeating: " ", count: width - count) }
  return cut(text, to: width, fills: true)
}

/// `text` in at most so many columns.
func cut(_ text: String, to width: Int, fills: Bool = false) -> String {
  guard columns(text) > width else { return text }
  guard width > 0 else { return "" }
  var result = ""
  var used = 0
  for character in text {
    let count = columns(String(character))
    if used + count > width - 1 { break }
    result.append(character)
    used += count
  }
  return result + "…" + (fills ? String(repeating: " ", count: width - 1 - used) : "")
}

/// A table as lines: columns as wide as their widest text, two blanks between them, the last one cut to what is left of
/// `width`; nil cuts nothing.
func table(_ head: [String], _ rows: [[String]], width: Int?) -> [String] {
  let all = [head] + rows
  let widths = head.indices.map { column in all.map { columns($0[column]) }.max() ?? 0 }
  return all.map { row in
    var line = ""
    for column in head.indices.dropLast() { line += fitted(row[column], to: widths[column]) + "  " }
    line += row.last ?? ""
    while line.last == " " { line.removeLast() }
    return width.map { cut(line, to: $0) } ?? line
  }
}
