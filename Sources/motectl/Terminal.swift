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

/// A column of a table.
struct TableColumn {
  let title: String
  /// The columns with the highest numbers give way first where not all fit; 0 never does.
  let rank: Int
  /// The narrowest that it still says something in, before it gives way altogether.
  let widthMin: Int

  init(_ title: String, rank: Int = 0, widthMin: Int = 8) {
    self.title = title
    self.rank = rank
    self.widthMin = widthMin
  }
}

/// A table as lines: columns as wide as their widest text, two blanks between them. Where that is wider than `width`,
/// columns become narrower and go, the least important ones first; nil cuts nothing.
func table(_ head: [TableColumn], _ rows: [[String]], width: Int?) -> [String] {
  let all = [head.map(\.title)] + rows
  let natural = head.indices.map { column in all.map { columns($0[column]) }.max() ?? 0 }
  let widths = width.map { fittedWidths(head, natural, $0) } ?? natural
  let shown = head.indices.filter { widths[$0] > 0 }
  return all.map { row in
    var line = ""
    for column in shown { line += fitted(row[column], to: widths[column]) + "  " }
    while line.last == " " { line.removeLast() }
    return width.map { cut(line, to: $0) } ?? line
  }
}

/// How wide each column is within `width`; 0 for those that are left out.
private func fittedWidths(_ head: [TableColumn], _ natural: [Int], _ width: Int) -> [Int] {
  var widths = natural
  func excess() -> Int { widths.reduce(0) { $0 + ($1 > 0 ? $1 + 2 : 0) } - 2 - width }
  // What gives way first has the highest rank; of equals the last one.
  let order = head.indices.sorted { (head[$0].rank, $0) > (head[$1].rank, $1) }
  for column in order where head[column].rank > 0 && excess() > 0 {
    let narrowest = min(natural[column], max(head[column].widthMin, columns(head[column].title)))
    widths[column] -= min(excess(), widths[column] - narrowest)
    if excess() > 0 { widths[column] = 0 }
  }
  // Only what never gives way is left: the widest of these are cut.
  while excess() > 0, let widest = head.indices.max(by: { widths[$0] < widths[$1] }), widths[widest] > 4 {
    widths[widest] -= 1
  }
  return widths
}
