// SPDX-License-Identifier: MIT
using Exo.Cli.Verbs;

return ExoCommand.Run(args);
