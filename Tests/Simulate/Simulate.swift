// simulate queue HISTORIES [SEED]: the queue on flash with a power cut at each call of the disk and everything that
// each may leave, life after life, until there were so many histories.
//
// simulate HOURS [SEED]: the whole agent through days of everything that can happen, one seed a day, until so many
// simulated hours are over. Optimised, it takes seconds for what the same tests take minutes for.

import Foundation
import Simulator

/// The program.
@main struct Simulate {
  static func main() throws {
    var words = CommandLine.arguments.dropFirst()
    if words.first == "queue" {
      words = words.dropFirst()
      return try simulateQueue(words.compactMap { Int($0) })
    }
    let numbers = words.compactMap { UInt64($0) }
    guard numbers.count == words.count, let hours = numbers.first, words.count <= 2 else {
      print("usage: simulate HOURS [SEED], or simulate queue HISTORIES [SEED]")
      exit(EX_USAGE)
    }
    var tally = Tally()
    var seed = numbers.dropFirst().first ?? 1000
    while tally.hours < Double(hours) {
      let failure = try live(
        through: .dayOfEverything(seed: seed), seed: seed, &tally, replay: "swift run -c release simulate 1 \(seed)")
      if let failure {
        print(failure)
        exit(EXIT_FAILURE)
      }
      seed += 1
    }
    print("\(tally.runs) seeds, \(Int(tally.hours)) simulated hours, every promise kept: \(tally.summary)")
  }

  private static func simulateQueue(_ numbers: [Int]) throws {
    guard let count = numbers.first else {
      print("usage: simulate queue HISTORIES [SEED]")
      exit(EX_USAGE)
    }
    var tally = QueueTally()
    var seed = UInt64(numbers.dropFirst().first ?? 1)
    var lives = 0
    while tally.histories < count {
      if let fault = checkQueue(seed: seed, &tally) {
        print("\(fault)\nreplay: swift run -c release simulate queue 1 \(seed)")
        exit(EXIT_FAILURE)
      }
      seed += 1
      lives += 1
    }
    print(
      """
      \(lives) lives, \(tally.points) power-cut points, \(tally.histories) histories (\(tally.secondCuts) with a \
      second cut), every promise kept: \(tally.repeated) messages delivered twice, \(tally.dropped) dropped, \
      \(tally.torn) torn ends
      """)
  }
}
