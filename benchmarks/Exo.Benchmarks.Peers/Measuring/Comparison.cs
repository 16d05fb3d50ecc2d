// SPDX-License-Identifier: MIT
namespace Exo.Benchmarks.Peers.Measuring;

/// <summary>The figures of one row. The ratio says how many times better Exo is than the peer, whichever way better is.</summary>
internal sealed record Comparison(string Name, string Peer, string Unit, bool MoreIsBetter, IReadOnlyList<double> Exo, IReadOnlyList<double> Others)
{
    public double ExoMedian => Median(Exo);

    public double PeerMedian => Median(Others);

    public double Ratio => MoreIsBetter ? ExoMedian / PeerMedian : PeerMedian / ExoMedian;

    /// <summary>Runs a row: Exo and the peer by turns, and who goes first changes from round to round.</summary>
    public static Comparison Run(IPeerRow row, int rounds)
    {
        List<double> exo = [];
        List<double> peer = [];
        for (int round = 0; round < rounds; round++)
        {
            if (round % 2 == 0)
            {
                exo.Add(row.RunExo());
                peer.Add(row.RunPeer());
            }
            else
            {
                peer.Add(row.RunPeer());
                exo.Add(row.RunExo());
            }
        }

        return new Comparison(row.Name, row.Peer, row.Unit, row.MoreIsBetter, exo, peer);
    }

    public static double Median(IReadOnlyList<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }
}
