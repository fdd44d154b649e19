//! Every metric is exported, documented and moves.

use super::*;
