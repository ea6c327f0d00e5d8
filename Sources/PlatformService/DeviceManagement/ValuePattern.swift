// Regular expressions of bundles, which strangers to this program write: matched in time that grows with the text and
// the expression, and never with their power. All that can be matched without going back is understood.

/// An expression that a whole text matches or does not.
struct ValuePattern {
  /// What is wrong with an expression, for people.
  struct Problem: Error {
    let message: String
  }

  fileprivate enum State {
    /// Takes one character of a set.
    case take(CharacterSet, next: Int)
    /// Goes on at both places.
    case fork(Int, Int)
    /// Goes on at the beginning, or the end, of the text only.
    case begin(next: Int), end(next: Int)
    /// The text matches.
    case accept
  }

  private let states: [State]
  private let start: Int

  /// Understands an expression.
  init(_ text: String) throws(Problem) {
    var parser = PatternParser(text)
    let tree = try parser.parse()
    var states: [State] = [.accept]
    start = try ValuePattern.build(tree, next: 0, &states)
    self.states = states
  }

  /// Adds the states of `tree`, behind which it goes on at `next`, and gives the first of them.
  private static func build(_ tree: PatternTree, next: Int, _ states: inout [State]) throws(Problem) -> Int {
    func add(_ state: State) throws(Problem) -> Int {
      guard states.count < ServiceLimits.patternStatesMax else {
        throw Problem(message: "it is too large: its repetitions count")
      }
      states.append(state)
      return states.count - 1
    }
    switch tree {
    case .empty: return next
    case .one(let set): return try add(.take(set, next: next))
    case .begin: return try add(.begin(next: next))
    case .end: return try add(.end(next: next))
    case .sequence(let parts):
      var place = next
      for part in parts.reversed() { place = try build(part, next: place, &states) }
      return place
    case .choice(let one, let other):
      let left = try build(one, next: next, &states)
      let right = try build(other, next: next, &states)
      return try add(.fork(left, right))
    case .repetition(let part, let least, let most):
      var place = next
      if let most {
        for _ in least..<most { place = try add(.fork(try build(part, next: place, &states), next)) }
      } else {
        let loop = try add(.fork(next, next))
        states[loop] = .fork(try build(part, next: loop, &states), next)
        place = loop
      }
      for _ in 0..<least { place = try build(part, next: place, &states) }
      return place
    }
  }

  /// Whether all of `text` matches: each character meets each state once at most.
  func matches(_ text: String) -> Bool {
    let characters = Array(text.unicodeScalars)
    var marks = [Int](repeating: -1, count: states.count)
    var current: [Int] = []
    reach(start, at: 0, of: characters.count, &current, &marks)
    for (index, character) in characters.enumerated() {
      var following: [Int] = []
      for place in current {
        if case .take(let set, let next) = states[place], set.contains(character) {
          reach(next, at: index + 1, of: characters.count, &following, &marks)
        }
      }
      current = following
      if current.isEmpty { return false }
    }
    return current.contains {
      if case .accept = states[$0] { true } else { false }
    }
  }

  /// Notes a state, and those that it leads to without a character.
  private func reach(_ first: Int, at index: Int, of count: Int, _ found: inout [Int], _ marks: inout [Int]) {
    var open = [first]
    while let place = open.popLast() {
      guard marks[place] != index else { continue }
      marks[place] = index
      switch states[place] {
      case .take, .accept: found.append(place)
      case .fork(let one, let other): open += [other, one]
      case .begin(let next): if index == 0 { open.append(next) }
      case .end(let next): if index == count { open.append(next) }
      }
    }
  }
}

/// Some characters, or all others.
private struct CharacterSet {
  var ranges: [ClosedRange<UInt32>] = []
  var isNegated = false

  func contains(_ character: Unicode.Scalar) -> Bool {
    ranges.contains { $0.contains(character.value) } != isNegated
  }

  static let digits = CharacterSet(ranges: [0x30...0x39])
  static let word = CharacterSet(ranges: [0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
  static let space = CharacterSet(ranges: [0x09...0x0D, 0x20...0x20])
  static let any = CharacterSet(ranges: [0x0A...0x0A, 0x0D...0x0D], isNegated: true)

  /// All others, as ranges.
  var inverse: CharacterSet {
    var result = CharacterSet()
    var next: UInt32 = 0
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if range.lowerBound > next { result.ranges.append(next...(range.lowerBound - 1)) }
      next = max(next, range.upperBound + 1)
    }
    result.ranges.append(next...0x10FFFF)
    return result
  }
}

private indirect enum PatternTree {
  case empty
  case one(CharacterSet)
  case begin, end
  case sequence([PatternTree])
  case choice(PatternTree, PatternTree)
  case repetition(PatternTree, least: Int, most: Int?)
}

/// Reads an expression.
private struct PatternParser {
  private typealias Problem = ValuePattern.Problem
  private static let depthMax = 50

  private var rest: Substring.UnicodeScalarView
  private var depth = 0

  init(_ text: String) { rest = text[...].unicodeScalars }

  mutating func parse() throws(ValuePattern.Problem) -> PatternTree {
    let tree = try choice()
    guard rest.isEmpty else { throw Problem(message: "a ')' without its '('") }
    return tree
  }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard rest.first == character else { return false }
    rest.removeFirst()
    return true
  }

  private mutating func choice() throws(ValuePattern.Problem) -> PatternTree {
    var tree = try sequence()
    while take("|") { tree = .choice(tree, try sequence()) }
    return tree
  }

  private mutating func sequence() throws(ValuePattern.Problem) -> PatternTree {
    var parts: [PatternTree] = []
    while let next = rest.first, next != "|", next != ")" { parts.append(try repeated(try atom())) }
    return .sequence(parts)
  }

  private mutating func repeated(_ part: PatternTree) throws(ValuePattern.Problem) -> PatternTree {
    var tree = part
    while let next = rest.first, "*+?{".unicodeScalars.contains(next) {
      rest.removeFirst()
      switch next {
      case "*": tree = .repetition(tree, least: 0, most: nil)
      case "+": tree = .repetition(tree, least: 1, most: nil)
      case "?": tree = .repetition(tree, least: 0, most: 1)
      default:
        let (least, most) = try bounds()
        tree = .repetition(tree, least: least, most: most)
      }
      // How much is taken first makes no difference to whether all of it matches.
      if take("?") { continue }
      guard rest.first != "+" else { throw Problem(message: "possessive repetitions are not understood") }
    }
    return tree
  }

  /// `n}`, `n,}` or `n,m}`.
  private mutating func bounds() throws(ValuePattern.Problem) -> (Int, Int?) {
    let problem = Problem(message: "a repetition is {n}, {n,} or {n,m}")
    guard let least = number() else { throw problem }
    if take("}") { return (least, least) }
    guard take(",") else { throw problem }
    if take("}") { return (least, nil) }
    guard let most = number(), most >= least, take("}") else { throw problem }
    return (least, most)
  }

  private mutating func number() -> Int? {
    let digits = rest.prefix { (0x30...0x39).contains($0.value) }
    guard (1...4).contains(digits.count) else { return nil }
    rest.removeFirst(digits.count)
    return Int(String(String.UnicodeScalarView(digits)))
  }

  private mutating func atom() throws(ValuePattern.Problem) -> PatternTree {
    guard let next = rest.popFirst() else { return .empty }
    switch next {
    case "(": return try group()
    case "[": return .one(try characterClass())
    case ".": return .one(.any)
    case "^": return .begin
    case "$": return .end
    case "\\": return .one(try escape())
    case "*", "+", "?", "{": throw Problem(message: "a repetition of nothing")
    default: return .one(CharacterSet(ranges: [next.value...next.value]))
    }
  }

  private mutating func group() throws(ValuePattern.Problem) -> PatternTree {
    depth += 1
    guard depth <= PatternParser.depthMax else { throw Problem(message: "groups are nested too deep") }
    if take("?") {
      guard take(":") else { throw Problem(message: "of groups only (…) and (?:…) are understood") }
    }
    let tree = try choice()
    guard take(")") else { throw Problem(message: "a '(' without its ')'") }
    depth -= 1
    return tree
  }

  private mutating func escape() throws(ValuePattern.Problem) -> CharacterSet {
    guard let next = rest.popFirst() else { throw Problem(message: "nothing behind a '\\'") }
    switch next {
    case "d": return .digits
    case "D": return CharacterSet.digits.inverse
    case "w": return .word
    case "W": return CharacterSet.word.inverse
    case "s": return .space
    case "S": return CharacterSet.space.inverse
    case "t": return CharacterSet(ranges: [9...9])
    case "n": return CharacterSet(ranges: [10...10])
    case "r": return CharacterSet(ranges: [13...13])
    case "f": return CharacterSet(ranges: [12...12])
    case "x": return try hexadecimal(2)
    case "u": return try hexadecimal(4)
    default:
      let isWord = CharacterSet.word.contains(next)
      guard !isWord || next == "_" else { throw Problem(message: "'\\\(next)' is not understood") }
      return CharacterSet(ranges: [next.value...next.value])
    }
  }

  private mutating func hexadecimal(_ count: Int) throws(ValuePattern.Problem) -> CharacterSet {
    let digits = String(String.UnicodeScalarView(rest.prefix(count)))
    guard digits.unicodeScalars.count == count, let value = UInt32(digits, radix: 16) else {
      throw Problem(message: "\\x has two hexadecimal digits, \\u four")
    }
    rest.removeFirst(count)
    return CharacterSet(ranges: [value...value])
  }

  private mutating func characterClass() throws(ValuePattern.Problem) -> CharacterSet {
    let isNegated = take("^")
    var ranges: [ClosedRange<UInt32>] = []
    var isFirst = true
    while let next = rest.popFirst() {
      if next == "]", !isFirst {
        let set = CharacterSet(ranges: ranges)
        return isNegated ? set.inverse : set
      }
      isFirst = false
      guard next != "[", !(next == "&" && rest.first == "&") else {
        throw Problem(message: "classes within classes are not understood; '\\[' is a bracket")
      }
      let low = next == "\\" ? try escape() : CharacterSet(ranges: [next.value...next.value])
      guard low.ranges.count == 1, let first = low.ranges.first, first.count == 1, rest.first == "-",
        let behind = rest.dropFirst().first, behind != "]"
      else {
        ranges += low.ranges
        continue
      }
      rest.removeFirst(2)
      let high = behind == "\\" ? try escape() : CharacterSet(ranges: [behind.value...behind.value])
      guard high.ranges.count == 1, let last = high.ranges.first, last.count == 1, last.lowerBound >= first.lowerBound
      else { throw Problem(message: "a range of characters goes from a lower to a higher one") }
      ranges.append(first.lowerBound...last.lowerBound)
    }
    throw Problem(message: "a '[' without its ']'")
  }
}
