// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

// Every signature of the system-call layer is blittable: nothing is marshalled behind our back.
[assembly: DisableRuntimeMarshalling]
