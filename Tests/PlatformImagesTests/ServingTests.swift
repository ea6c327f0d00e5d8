import PlatformImages
import Testing

@Suite struct DigestTests {
  /// FIPS 180-4's examples, and the lengths around a block.
  @Test(arguments: [
    (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"),
    (56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"),
    (64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"),
    (1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
  ])
  func runsOfTheLetterA(_ count: Int, _ expected: String) {
    var digest = SHA256Digest()
    var rest = count
    // In pieces of all lengths.
    var piece = 1
    while rest > 0 {
      let length = min(piece, rest)
      digest.update([UInt8](repeating: UInt8(ascii: "a"), count: length))
      rest -= length
      piece = piece * 3 % 10_007
    }
    #expect(digest.finish() == expected)
  }

  @Test func abc() {
    var digest = SHA256Digest()
    digest.update(Array("abc".utf8))
    #expect(digest.finish() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }
}

@Suite struct RangeTests {
  /// RFC 9110, section 14.1.2.
  @Test(arguments: [
    (nil, RequestedRange.whole), ("bytes=0-", .part(0..<100)), ("bytes=10-19", .part(10..<20)),
    ("bytes=90-1000", .part(90..<100)), ("bytes=-10", .part(90..<100)), ("bytes=-1000", .part(0..<100)),
    ("bytes=100-", .unsatisfiable), ("bytes=-0", .unsatisfiable), ("bytes=20-10", .whole), ("bytes=-", .whole),
    ("bytes=0-1,5-6", .whole), ("items=0-1", .whole), ("bytes=x-1", .whole), ("bytes=--1", .whole),
    ("bytes=+1-2", .whole), ("bytes=99999999999999999999-", .whole), ("bytes=0-9223372036854775807", .part(0..<100)),
  ])
  func ranges(_ header: String?, _ expected: RequestedRange) {
    #expect(RequestedRange(header, of: 100) == expected)
  }
}
