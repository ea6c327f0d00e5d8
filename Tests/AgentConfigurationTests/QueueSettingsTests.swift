import AgentConfiguration
import TestSupport
import Testing

@Suite struct QueueSettingsTests {
  private func input(_ queue: String?, event: String = "") -> Input {
    var text = "[device]\norg = ab12cd\ntype = edge\nid = a\nauth-token = x\n"
    text += queue.map { "[queue]\n\($0)\n" } ?? ""
    return Input(text + "[event e]\nqos = 1\n\(event)\n[sensor s]\nevent = e\nread = constant:1\n")
  }

  @Test func flushIsATimeANumberOrEach() throws {
    for (text, time, count) in [
      ("", 10_000, Int.max), ("flush = each", 0, .max), ("flush = 1s", 1000, .max), ("flush = 1h", 3_600_000, .max),
      ("flush = 100", 3_600_000, 100),
    ] {
      try settings(input(text)) {
        #expect($0.queue.isConfigured && $0.queue.flushTime.milliseconds == Int64(time) && $0.queue.flushCount == count)
      }
    }
    for text in ["0", "1001", "999ms", "61m", "never", "-1"] {
      #expect(try complaints(input("flush = \(text)")).contains { $0.contains("expected each, a time from 1s to 1h") })
    }
  }

  @Test func eventsWaitWhereTheyAreToldTo() throws {
    try settings(input(nil)) { #expect($0.events[0].keeping == .memory && $0.events[0].priority == 1) }
    try settings(input("")) { #expect($0.events[0].keeping == .flash) }
    try settings(input("", event: "queue = none\npriority = critical")) {
      #expect($0.events[0].keeping == Keeping.none && $0.events[0].priority == 3)
    }
    #expect(try complaints(input(nil, event: "queue = flash")).contains { $0.contains("expected a [queue] besides") })
  }

  @Test func aQueueHasRoomForMessages() throws {
    #expect(try complaints(input("size = 64KB")) == [])
    let small = Input(Array(input("size = 64KB").text).text + "[mqtt]\npacket-size = 9KB\n")
    #expect(try complaints(small).contains { $0.contains("expected eight times packet-size at least") })
  }
}
