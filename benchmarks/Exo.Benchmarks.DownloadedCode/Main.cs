// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Running;
using Exo.Benchmarks.DownloadedCode;

BenchmarkSwitcher.FromAssembly(typeof(OwnsBenchmarks).Assembly).Run(args);
