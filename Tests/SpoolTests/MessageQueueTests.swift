import Bytes
import Spool
import TestSupport
import Testing

/// What a queued message is made of, copied out for comparison.
struct Taken: Equatable {
  var topic: String
  var payload: String
  var qos: UInt8
  var token: UInt64
}

extension MessageQueue {
  func copyOfFront() -> Taken? {
    guard let front else { return nil }
    return Taken(
      topic: Array(bytes.extracting(front.topic)).text, payload: Array(bytes.extracting(front.payload)).text,
      qos: front.qos, token: front.token)
  }

  mutating func take() -> Taken? {
    let taken = copyOfFront()
    removeFront()
    return taken
  }

  mutating func add(_ topic: String, _ payload: String, qos: UInt8 = 1) -> Int {
    let topic = Array(topic.utf8)
    let payload = Array(payload.utf8)
    return append(topic: topic.span, payload: payload.span, qos: qos)
  }
}

@Suite struct MessageQueueTests {
  @Test func givesMessagesBackInTheirOrderWithTokensThatCountUp() throws {
    try withArena { arena in
      var queue = try MessageQueue(byteCapacity: 1024, from: &arena)
      #expect(queue.copyOfFront() == nil)
      #expect(queue.add("a/b", "one", qos: 1) == 0)
      #expect(queue.add("c", "", qos: 2) == 0)
      #expect(queue.add("", "three") == 0)
      #expect(queue.count == 3)
      #expect(queue.take() == Taken(topic: "a/b", payload: "one", qos: 1, token: 1))
      #expect(queue.take() == Taken(topic: "c", payload: "", qos: 2, token: 2))
      #expect(queue.add("d", "four") == 0)
      #expect(queue.take() == Taken(topic: "", payload: "three", qos: 1, token: 3))
      #expect(queue.take() == Taken(topic: "d", payload: "four", qos: 1, token: 4))
      #expect(queue.take() == nil)
      #expect(queue.droppedCount == 0)
    }
  }

  @Test func dropsTheOldestWhenFullAndSaysHowMany() throws {
    try withArena { arena in
      // Each record has 7 bytes of overhead, 1 of topic and 4 of payload: 12, so three fit in 36.
      var queue = try MessageQueue(byteCapacity: 36, from: &arena)
      for payload in ["1111", "2222", "3333"] { #expect(queue.add("t", payload) == 0) }
      #expect(queue.add("t", "4444") == 1)
      #expect(queue.droppedCount == 1)
      #expect(queue.count == 3)
      #expect(queue.copyOfFront() == Taken(topic: "t", payload: "2222", qos: 1, token: 2))
      // 20 bytes of payload make a record of 28: two more must go.
      #expect(queue.add("t", "55555555555555555555") == 3)
      #expect(queue.droppedCount == 4)
      #expect(queue.count == 1)
      #expect(queue.take()?.token == 5)
    }
  }

  @Test func dropsAMessageThatIsLargerThanTheWholeQueueAndKeepsTheOthers() throws {
    try withArena { arena in
      var queue = try MessageQueue(byteCapacity: 36, from: &arena)
      #expect(queue.add("t", "1111") == 0)
      #expect(queue.add("t", String(repeating: "x", count: 29)) == 1)
      #expect(queue.count == 1)
      #expect(queue.droppedCount == 1)
      #expect(queue.take() == Taken(topic: "t", payload: "1111", qos: 1, token: 1))
      // Exactly the capacity fits.
      #expect(queue.add("t", String(repeating: "x", count: 28)) == 0)
      #expect(queue.count == 1)
    }
  }

  @Test func refusesATopicWhoseLengthDoesNotFitItsField() throws {
    try withArena { arena in
      var queue = try MessageQueue(byteCapacity: 80_000, from: &arena)
      #expect(queue.add(String(repeating: "t", count: 65_536), "") == 1)
      #expect(queue.count == 0)
      #expect(queue.add(String(repeating: "t", count: 65_535), "p") == 0)
      #expect(queue.take()?.topic.utf8.count == 65_535)
    }
  }

  @Test func keepsPayloadsLongerThan64KiB() throws {
    try withArena { arena in
      var queue = try MessageQueue(byteCapacity: 300_000, from: &arena)
      let payload = String(repeating: "0123456789abcdef", count: 8192)  // 131072 bytes, the platform's limit
      #expect(queue.add("topic", payload) == 0)
      #expect(queue.add("topic", "next") == 0)
      #expect(queue.take()?.payload == payload)
      #expect(queue.take()?.payload == "next")
    }
  }

  @Test func numbersDirectMessagesInTheSameSequence() throws {
    try withArena { arena in
      var queue = try MessageQueue(byteCapacity: 1024, from: &arena)
      #expect(queue.tokenForDirectMessage() == 1)
      #expect(queue.add("t", "queued") == 0)
      #expect(queue.tokenForDirectMessage() == nil, "a message may not overtake waiting ones")
      #expect(queue.take()?.token == 2)
      #expect(queue.tokenForDirectMessage() == 3)
    }
  }

  @Test func agreesWithAModelOverManyRandomOperations() throws {
    try withArena { arena in
      var queue = try MessageQueue(byteCapacity: 200, from: &arena)
      var random = RandomSource(seed: 7)
      var model: [Taken] = []
      var nextToken: UInt64 = 1
      var dropped: UInt64 = 0
      func bytes(_ message: Taken) -> Int { 7 + message.topic.utf8.count + message.payload.utf8.count }
      for _ in 0..<20_000 {
        if random.next() % 3 > 0 {
          let topic = String(repeating: "t", count: Int(random.next() % 12))
          let payload = String(repeating: "p", count: Int(random.next() % 60))
          let message = Taken(topic: topic, payload: payload, qos: 1, token: nextToken)
          nextToken += 1
          var droppedNow = 0
          while model.reduce(bytes(message), { $0 + bytes($1) }) > 200 {
            model.removeFirst()
            droppedNow += 1
          }
          model.append(message)
          dropped += UInt64(droppedNow)
          #expect(queue.add(topic, payload) == droppedNow)
        } else {
          let expected = model.isEmpty ? nil : model.removeFirst()
          #expect(queue.take() == expected)
        }
        #expect(queue.count == model.count)
        #expect(queue.droppedCount == dropped)
      }
    }
  }

  @Test func refusesWhatIsLongerThanTheLongestMessage() throws {
    try withArena(byteCount: 176) { arena in
      // Seven bytes of overhead, ten of message: 16 more than the ring are all the memory that it takes.
      var queue = try MessageQueue(byteCapacity: 144, messageBytesMax: 10, from: &arena)
      #expect(arena.byteCount == 160)
      #expect(queue.add("t", "0123456789") == 1)
      #expect(queue.count == 0 && queue.droppedCount == 1)
      #expect(queue.add("t", "012345678") == 0)
      #expect(queue.take()?.payload == "012345678")
    }
  }

  /// Contents that tell one place of the memory from another, in queues that are always full, and in ones that never
  /// are: records that end behind the ring, and ones that move to its front.
  @Test(arguments: [(40, 33), (200, 60), (1000, 1000), (20_000, 700)])
  func givesBackWhatWasPutInWhereverItLies(byteCapacity: Int, payloadMax: Int) throws {
    try withArena { arena in
      var queue = try MessageQueue(byteCapacity: byteCapacity, from: &arena)
      var random = RandomSource(seed: UInt64(byteCapacity))
      var model: [Taken] = []
      var nextToken: UInt64 = 1
      var isFilling = true
      for round in 0..<6000 {
        if round % 500 == 0 { isFilling.toggle() }
        if random.next() % 4 < (isFilling ? 3 : 2) {
          let payload = (0..<(random.next() % UInt64(payloadMax))).map { _ in
            Character(Unicode.Scalar(UInt8(0x30 + random.next() % 64)))
          }
          let message = Taken(
            topic: String(nextToken), payload: String(payload), qos: UInt8(1 + nextToken % 2), token: nextToken)
          nextToken += 1
          let held = { model.reduce(0) { $0 + 7 + $1.topic.utf8.count + $1.payload.utf8.count } }
          guard 7 + message.topic.utf8.count + message.payload.utf8.count <= byteCapacity else {
            nextToken -= 1
            #expect(queue.add(message.topic, message.payload, qos: message.qos) == 1)
            continue
          }
          let countBefore = model.count
          model.append(message)
          while held() > byteCapacity { model.removeFirst() }
          #expect(queue.add(message.topic, message.payload, qos: message.qos) == countBefore + 1 - model.count)
        } else {
          #expect(queue.take() == (model.isEmpty ? nil : model.removeFirst()))
        }
        #expect(queue.count == model.count)
        #expect(queue.copyOfFront() == model.first)
      }
    }
  }
}
