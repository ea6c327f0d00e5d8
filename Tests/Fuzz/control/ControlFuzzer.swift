// Feeds lines to the parser of what local programs ask. Whatever the line: nothing traps, its words are those between
// its blanks or tabs, and come to an end.

import Agent
import Bytes

/// What libFuzzer calls with each line.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzControl(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let line = Array(UnsafeBufferPointer(start: start, count: count))
  checkWords(of: line)
  return 0
}

/// Words lie behind one another, come to an end, and have no separator in them.
private func checkWords(of line: [UInt8]) {
  let separator = UInt8(ascii: line.contains(UInt8(ascii: "\t")) ? "\t" : " ")
  var words = RequestWords(of: line.span)
  var end = -1
  var found: [[UInt8]] = []
  for _ in 0...(line.count + 1) {
    guard let word = words.next(in: line.span) else {
      let expected = line.split(separator: separator, omittingEmptySubsequences: separator == UInt8(ascii: " "))
      // A line of nothing has no word.
      precondition(found == expected.map { Array($0) } || (line.isEmpty && found.isEmpty), "other words than there are")
      checkRest(of: line)
      return
    }
    precondition(word.lowerBound > end && word.upperBound <= line.count, "words are not behind one another")
    end = word.upperBound
    found.append(Array(line[word]))
    if let verb = ControlVerb(named: line.span.extracting(word)) {
      precondition(ControlVerb.words.word(Int(verb.rawValue)).equalsIgnoringCase(line.span.extracting(word)))
    }
  }
  fatalError("the words do not end")
}

/// The rest reaches to the end, or to the next tab.
private func checkRest(of line: [UInt8]) {
  var words = RequestWords(of: line.span)
  guard let rest = words.rest(in: line.span) else { return }
  if line.contains(UInt8(ascii: "\t")) {
    precondition(!line[rest].contains(UInt8(ascii: "\t")), "a word with a tab in it")
  } else {
    precondition(rest.upperBound == line.count && words.next(in: line.span) == nil, "the rest is not all")
  }
}
