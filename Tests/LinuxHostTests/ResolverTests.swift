import Bytes
import CLinux
import HostInterface
import TestSupport
import Testing

@testable import LinuxHost

/// A resolver with room for its addresses.
private final class ResolverUnderTest {
  var resolver = Resolver()
  var addresses: FixedArray<mote_address>
  private var name: CText

  init(_ host: String) throws {
    var arena = makeArena(byteCount: 4096)
    name = try CText(countMax: LinkEndpoint.nameBytesMax, for: "test", from: &arena)
    let isSet = name.set(Array(text: host).span)
    #expect(isSet)
    addresses = try FixedArray(capacity: Resolver.addressesMax, for: "test", from: &arena)
  }

  deinit { resolver.stop() }

  func start(now: Instant = System.bootTime()) -> Lookup {
    resolver.start(name, now: now, addresses: &addresses)
  }

  func poll(now: Instant = System.bootTime()) -> Lookup { resolver.poll(now: now, from: 0, addresses: &addresses) }

  /// The answer, or what there is after some seconds.
  func finish() -> Lookup {
    var state = start()
    let end = System.bootTime() + .seconds(12)
    while state == .pending, System.bootTime() < end {
      var set = PollSet()
      _ = set.add(resolver.descriptor, events: Int16(POLLIN))
      set.wait(milliseconds: 200)
      state = poll()
    }
    return state
  }

  var descriptor: Int32 { resolver.descriptor }
  var deadline: Instant { resolver.deadline }
  var dyingCount: Int { resolver.dyingCount }

  var texts: [String] {
    (0..<addresses.count).map { index in
      var line = makeBuffer()
      line.append(addresses[index], port: 1)
      return line.text
    }
  }
}

@Suite struct ResolverTests {
  // The forms are those of RFC 5952 4.
  @Test(arguments: [
    ("127.0.0.1", "127.0.0.1:1"), ("::1", "[::1]:1"), ("fe80::1%lo", "[fe80::1]:1"), ("::", "[::]:1"),
    ("2001:0DB8::", "[2001:db8::]:1"), ("2001:db8:0:1:1:1:1:1", "[2001:db8:0:1:1:1:1:1]:1"),
    ("2001:0:0:1:0:0:0:1", "[2001:0:0:1::1]:1"), ("2001:db8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:1"),
    ("1:20:300:4000:5:6:7:0", "[1:20:300:4000:5:6:7:0]:1"),
  ])
  func understandsNumericAddressesAtOnce(host: String, text: String) throws {
    let test = try ResolverUnderTest(host)
    #expect(test.start() == .found)
    #expect(test.descriptor == -1)
    #expect(test.texts == [text])
  }

  @Test func looksNamesUpElsewhere() throws {
    let test = try ResolverUnderTest("localhost")
    #expect(test.start() == .pending)
    #expect(test.descriptor >= 0)
    #expect(test.finish() == .found)
    #expect(test.texts.contains("127.0.0.1:1"))
    #expect(test.descriptor == -1)
  }

  @Test func saysThatANameDoesNotExist() throws {
    // Longer than a label may be (RFC 1035 2.3.4), so no name server is needed to know.
    let test = try ResolverUnderTest(String(repeating: "x", count: 70) + ".invalid")
    guard case .failed(let failure, let code) = test.finish() else {
      Issue.record("such a name was found")
      return
    }
    #expect(failure == .nameNotFound)
    #expect(code < 0)
  }

  @Test func givesUpAtItsDeadline() throws {
    let test = try ResolverUnderTest("localhost")
    let start = System.bootTime()
    #expect(test.start(now: start) == .pending)
    #expect(test.deadline == start + .seconds(10))
    // The child is stopped in its tracks; if it was faster, the answer is there.
    var state = test.poll(now: start + .seconds(10))
    if state == .found { state = .failed(.nameTimeout, code: 0) }
    #expect(state == .failed(.nameTimeout, code: 0))
    #expect(test.descriptor == -1)
  }

  @Test func leavesNoChildBehind() throws {
    for _ in 0..<10 {
      let test = try ResolverUnderTest("localhost")
      _ = test.start()
      test.resolver.stop()
      let end = System.bootTime() + .seconds(5)
      while test.dyingCount > 0, System.bootTime() < end {
        var set = PollSet()
        set.wait(milliseconds: 1)
        test.resolver.tidyUp()
      }
      #expect(test.dyingCount == 0)
    }
  }

  private static let families: [[String]] = [
    ["2001:db8::1", "2001:db8::2", "2001:db8::3"], ["192.0.2.1", "192.0.2.2"],
  ]

  private func answer(_ child: Int, _ texts: [String]) -> mote_lookup_answer {
    var answer = mote_lookup_answer()
    answer.child = UInt32(child)
    answer.count = Int32(texts.count)
    withUnsafeMutableBytes(of: &answer.addresses) { raw in
      let addresses = raw.bindMemory(to: mote_address.self)
      for (index, text) in texts.enumerated() {
        var one = mote_lookup_answer()
        mote_parse_address(text, &one)
        addresses[index] = one.addresses.0
      }
    }
    return answer
  }

  @Test(
    arguments: [[MOTE_LOOKUP_IPV6, MOTE_LOOKUP_IPV4], [MOTE_LOOKUP_IPV4, MOTE_LOOKUP_IPV6]],
    [[3, 2], [1, 2], [0, 2]])
  func takesTurnsBetweenFamilies(order: [Int], counts: [Int]) throws {
    let test = try ResolverUnderTest("127.0.0.1")
    _ = test.start()
    for child in order {
      var answer = answer(child, Array(ResolverTests.families[child].prefix(counts[child])))
      interleave(&answer, into: &test.addresses, from: 1)
    }
    let expected = [
      3: ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1", "[2001:db8::3]:1"],
      1: ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1"], 0: ["192.0.2.1:1", "192.0.2.2:1"],
    ]
    #expect(test.texts == ["127.0.0.1:1"] + expected[counts[0], default: []], "what was tried stays where it is")
  }

  @Test(arguments: [Int32(-1), 0, 49, .max])
  func doesNotTrustTheAnswersCount(count: Int32) throws {
    let test = try ResolverUnderTest("127.0.0.1")
    var answer = mote_lookup_answer()
    answer.count = count
    interleave(&answer, into: &test.addresses, from: 0)
    #expect(test.addresses.count <= Int(MOTE_ADDRESSES_MAX))
  }
}
