// The rules for text, topic names and topic filters (sections 1.5.3 and 4.7).

import Bytes

/// What is wrong with a string field; nil if nothing is [MQTT-1.5.3-1], [MQTT-1.5.3-2].
///
/// Control characters and non-characters are legal; the standard only advises against them.
public func textFault(_ text: Span<UInt8>) -> PeerFault? {
  if isPlain(text) { return nil }
  if text.firstInvalidUTF8() != nil { return .textNotUTF8 }
  return text.firstIndex(of: 0) == nil ? nil : .textHasNull
}

/// Bytes that are known to be a topic name: whoever publishes to the same topic again and again has it checked once.
public struct TopicName: ~Escapable {
  /// The bytes.
  public let bytes: Span<UInt8>

  /// Checks `bytes`; nil when they are no topic name, or longer than a packet can say.
  @_lifetime(copy bytes)
  @inline(__always)
  public init?(_ bytes: Span<UInt8>) {
    guard bytes.count <= PacketLimits.fieldBytesMax, topicNameFault(bytes) == nil else { return nil }
    self.bytes = bytes
  }

  /// Bytes that were checked when they were made: the server ends the connection over a topic that is none.
  @_lifetime(copy bytes)
  @inline(__always)
  public init(alreadyChecked bytes: Span<UInt8>) {
    precondition(bytes.count <= PacketLimits.fieldBytesMax)
    self.bytes = bytes
  }
}

/// What is wrong with a topic name; nil if nothing is.
@inline(__always)
public func topicNameFault(_ topic: Span<UInt8>) -> PeerFault? {
  if !topic.isEmpty && isPlain(topic) { return nil }
  return unusualTopicNameFault(topic)
}

@inline(never)
private func unusualTopicNameFault(_ topic: Span<UInt8>) -> PeerFault? {
  if topic.isEmpty { return .topicEmpty }
  if let fault = textFault(topic) { return fault }
  if topic.firstIndex(of: multiLevelWildcard) != nil || topic.firstIndex(of: singleLevelWildcard) != nil {
    return .topicHasWildcard
  }
  return nil
}

/// What is wrong with a topic filter; nil if nothing is.
public func topicFilterFault(_ filter: Span<UInt8>) -> PeerFault? {
  if filter.isEmpty { return .topicEmpty }
  if isPlain(filter) { return nil }
  if let fault = textFault(filter) { return fault }
  for index in filter.indices {
    let beginsLevel = index == 0 || filter[index - 1] == levelSeparator
    if filter[index] == multiLevelWildcard, !beginsLevel || index + 1 != filter.count {
      return .filterMultiLevelWildcard
    }
    if filter[index] == singleLevelWildcard,
      !beginsLevel || (index + 1 < filter.count && filter[index + 1] != levelSeparator)
    {
      return .filterSingleLevelWildcard
    }
  }
  return nil
}

/// Whether `filter` selects `topic`; both must have passed their checks (section 4.7).
public func topicFilter(_ filter: Span<UInt8>, matches topic: Span<UInt8>) -> Bool {
  // [MQTT-4.7.2-1]: a wildcard in front does not match the server's own topics.
  if !topic.isEmpty, topic[0] == UInt8(ascii: "$"), !filter.isEmpty, filter[0] != topic[0] { return false }
  var filterIndex = 0
  var topicIndex = 0
  // Each turn compares one level: at most `filter.count` turns.
  while true {
    let level = levelEnd(filter, from: filterIndex)
    if level == filterIndex + 1, filter[filterIndex] == multiLevelWildcard { return true }
    let topicLevel = levelEnd(topic, from: topicIndex)
    let isWildcard = level == filterIndex + 1 && filter[filterIndex] == singleLevelWildcard
    if !isWildcard,
      !filter.extracting(filterIndex..<level).equals(topic.extracting(topicIndex..<topicLevel))
    {
      return false
    }
    if level == filter.count { return topicLevel == topic.count }
    if topicLevel == topic.count {
      // "sport/#" also matches "sport", the parent level (section 4.7.1.2).
      return level + 2 == filter.count && filter[level + 1] == multiLevelWildcard
    }
    filterIndex = level + 1
    topicIndex = topicLevel + 1
  }
}

private func levelEnd(_ text: Span<UInt8>, from index: Int) -> Int {
  text.firstIndex(of: levelSeparator, from: index) ?? text.count
}

private var levelSeparator: UInt8 { UInt8(ascii: "/") }
private var multiLevelWildcard: UInt8 { UInt8(ascii: "#") }
private var singleLevelWildcard: UInt8 { UInt8(ascii: "+") }

/// Whether `text` is ASCII without U+0000, `#` and `+`: the common case, decided eight bytes at a time.
private func isPlain(_ text: Span<UInt8>) -> Bool {
  let count = text.count
  guard count >= 8 else {
    for index in text.indices where !isPlain(text[index]) { return false }
    return true
  }
  // The last word may overlap the one before. What is found is looked at once, at the end.
  var found = unusualBytes(text.word(at: count - 8))
  var index = 0
  while index &+ 8 < count {
    found |= unusualBytes(text.word(at: index))
    index &+= 8
  }
  return found & 0x8080_8080_8080_8080 == 0
}

private func isPlain(_ byte: UInt8) -> Bool {
  byte != 0 && byte < 0x80 && byte != multiLevelWildcard && byte != singleLevelWildcard
}

/// A word whose bytes have their top bits set where those of `word` are not plain (and perhaps behind such a byte).
///
/// Subtracting 1 from each byte sets the top bit of a byte that was 0, as long as no byte has it already. `#` (0x23)
/// and `+` (0x2B) differ in one bit, so both become 0 by setting that bit and flipping those of `+`.
@inline(__always)
private func unusualBytes(_ word: UInt64) -> UInt64 {
  let ones: UInt64 = 0x0101_0101_0101_0101
  let wildcards = (word | ones &* 0x08) ^ (ones &* 0x2B)
  return word | (word &- ones) | (wildcards &- ones)
}
